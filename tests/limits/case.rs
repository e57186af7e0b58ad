//! How one limit is reached, and what shows it.

use std::{pin::Pin, time::Duration};

use anyhow::{Context, ensure};
use flare_im::limits::{Limit, Sign, Source};

use crate::{
    ground::{Ground, Shape},
    until::until,
};

/// A case that is not done by then never will be.
const WITHIN: Duration = Duration::from_secs(60);

/// What a case does.
pub(crate) type Played<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One limit's case, on a server of its own: so what rises is what the case did.
pub(crate) struct Case {
    /// The row.
    pub(crate) what: &'static str,
    shape: Shape,
    settings: &'static [&'static str],
    /// Metrics that rise, with the value of the label that tells; empty where none does.
    seen: Vec<(&'static str, &'static str)>,
    play: fn(&Ground) -> Played<'_>,
}

impl Case {
    /// `play` goes beyond the limit and asserts what happens, on a whole server.
    pub(crate) fn new(what: &'static str, play: fn(&Ground) -> Played<'_>) -> Self {
        Self {
            what,
            shape: Shape::Whole,
            settings: &[],
            seen: Vec::new(),
            play,
        }
    }

    /// On another server than a whole one.
    pub(crate) fn on(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// With these keys set.
    pub(crate) fn set(self, settings: &'static [&'static str]) -> Self {
        Self { settings, ..self }
    }

    /// This metric rises, at this value of its label.
    pub(crate) fn seen(mut self, metric: &'static str, label: &'static str) -> Self {
        self.seen.push((metric, label));
        self
    }

    /// Reaches the row's limit.
    pub(crate) fn run(self, limit: &'static Limit) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async { tokio::time::timeout(WITHIN, self.reach(limit)).await })
            .with_context(|| format!("it took longer than {WITHIN:?}"))?
    }

    async fn reach(self, limit: &'static Limit) -> anyhow::Result<()> {
        let ground = Ground::start(limit, self.shape, self.settings).await?;
        if let Source::Key(key) = limit.source {
            ensure!(
                ground
                    .settings
                    .iter()
                    .any(|it| it.starts_with(&format!("{key}="))),
                "the case does not set {key}"
            );
        }
        let watched = self.watched(limit)?;
        let mut before = Vec::new();
        for it in &watched {
            before.push(ground.metric(it).await?);
        }
        (self.play)(&ground).await?;
        for (series, before) in watched.iter().zip(before) {
            until(&format!("{series:?} rises above {before}"), async || {
                Ok((ground.metric(series).await? > before).then_some(()))
            })
            .await?;
        }
        for sign in limit.signs {
            if let Sign::Line(words) = sign {
                ground.says(words).await?;
            }
        }
        let last_words = limit.signs.iter().find_map(|it| match it {
            Sign::LastWords(words) => Some(*words),
            Sign::Metric(_) | Sign::Line(_) => None,
        });
        match last_words {
            Some(words) => ground.fails(words).await,
            None => Ok(()),
        }
    }

    /// The series of the row's metrics: each of them is looked at, and no other.
    fn watched(&self, limit: &Limit) -> anyhow::Result<Vec<Series>> {
        let metrics = limit.signs.iter().filter_map(|it| match it {
            Sign::Metric(metric) => Some(*metric),
            Sign::Line(_) | Sign::LastWords(_) => None,
        });
        let mut watched = Vec::new();
        for metric in metrics {
            let (name, label) = metric.split_once('{').unwrap_or((metric, ""));
            let label = label.trim_end_matches('}');
            let values = self.seen.iter().filter(|(it, _)| *it == name);
            let before = watched.len();
            watched.extend(values.map(|(name, value)| Series::new(name, label, value)));
            ensure!(watched.len() > before, "the case does not look at {metric}");
        }
        ensure!(
            watched.len() == self.seen.len(),
            "the case looks at {:?}, the page names {:?}",
            self.seen,
            limit.signs
        );
        Ok(watched)
    }
}

/// A metric at one value of one label; of none where the label has no name.
#[derive(Debug)]
pub(crate) struct Series {
    name: &'static str,
    label: &'static str,
    value: &'static str,
}

impl Series {
    /// Names one.
    pub(crate) const fn new(name: &'static str, label: &'static str, value: &'static str) -> Self {
        Self { name, label, value }
    }

    /// Its sum in a text of metrics; 0 if it is not there.
    pub(crate) fn sum(&self, text: &str) -> anyhow::Result<f64> {
        let label = format!("{}=\"{}\"", self.label, self.value);
        let lines = text.lines().filter(|line| {
            line.strip_prefix(self.name).is_some_and(|rest| {
                rest.starts_with([' ', '{']) && (self.label.is_empty() || rest.contains(&label))
            })
        });
        lines
            .map(|it| it.rsplit(' ').next().unwrap_or_default())
            .try_fold(0.0, |sum, it| Ok(sum + it.parse::<f64>()?))
    }
}
