//! The outcome: what was broken, and how much was seen.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::violation::{Violation, ViolationKind};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How much happened. As an argument of [`Verdict::require`], how much must have.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counts {
            /// Every count with its name, in the order of the fields.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counts! {
    /// Clients that wrote a record.
    clients,
    /// Conversations in which something happened.
    conversations,
    /// Commands intended, each once.
    intents,
    /// Commands sent again.
    retries,
    /// Receipts.
    acks,
    /// Receipts marked duplicate.
    duplicates,
    /// Refusals.
    refusals,
    /// Commands given up.
    abandons,
    /// Commands never answered: they may be stored or not.
    unanswered,
    /// Events received, in any way.
    deliveries,
    /// Of these, events that the client had already.
    repeats,
    /// Answers to syncs.
    syncs,
    /// Hints to sync.
    sync_hints,
    /// Floors named by the server.
    floors,
    /// Connections accepted.
    connections,
    /// Connections that ended.
    disconnections,
    /// Restarts of the server.
    restarts,
    /// Connections closed by the server for identity or policy.
    kicks,
    /// Changes of a partition's owner.
    takeovers,
    /// Recalls, each once.
    recalls,
    /// Users who joined, each change once.
    joins,
    /// Users removed, each change once.
    removals,
    /// Views claimed to be complete.
    ends,
    /// Events in the server's store.
    server_events,
}

/// What the histories show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The first violations in the order in which they were found: as records came in, then in the final review. At most 16.
    pub violations: Vec<Violation>,
    /// How many of each kind.
    pub by_kind: BTreeMap<ViolationKind, u64>,
    /// How much happened.
    pub counts: Counts,
}

impl Verdict {
    /// No promise was broken.
    pub fn is_kept(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// The first violation.
    pub fn first(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// How many violations there are, of all kinds.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Demands that no promise was broken and that each count reaches its minimum: a history in which nothing happened proves nothing.
    ///
    /// # Errors
    /// [`Rejected::Violated`] with the verdict, [`Rejected::TooLittle`] with every count that fell short.
    pub fn require(&self, minimums: &Counts) -> Result<(), Rejected> {
        if !self.is_kept() {
            return Err(Rejected::Violated(Box::new(self.clone())));
        }
        let shortfalls: Vec<_> = self
            .counts
            .named()
            .into_iter()
            .zip(minimums.named())
            .filter(|((_, seen), (_, wanted))| seen < wanted)
            .map(|((name, seen), (_, wanted))| Shortfall { name, seen, wanted })
            .collect();
        if shortfalls.is_empty() {
            Ok(())
        } else {
            Err(Rejected::TooLittle(shortfalls))
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first() {
            None => writeln!(f, "promises kept")?,
            Some(first) => writeln!(
                f,
                "PROMISES BROKEN, {} violations\nfirst: {first}",
                self.total()
            )?,
        }
        for (kind, count) in &self.by_kind {
            writeln!(f, "  {count:>10}  {kind:?}: {kind}")?;
        }
        for violation in self.violations.iter().skip(1).take(4) {
            writeln!(f, "then: {violation}")?;
        }
        let seen: Vec<_> = self
            .counts
            .named()
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .collect();
        let lines: Vec<_> = seen
            .chunks(4)
            .map(|row| {
                row.iter()
                    .map(|(name, count)| format!("{count:>10} {name:<15}"))
                    .collect::<String>()
                    .trim_end()
                    .to_owned()
            })
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A count below its minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{name}: {seen} of at least {wanted}")]
pub struct Shortfall {
    /// The field of [`Counts`].
    pub name: &'static str,
    /// What was seen.
    pub seen: u64,
    /// What was asked for.
    pub wanted: u64,
}

/// Why a verdict was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    /// A promise was broken.
    #[error("{0}")]
    Violated(Box<Verdict>),
    /// No promise was broken, but too little happened for that to mean anything.
    #[error("too little happened: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    TooLittle(Vec<Shortfall>),
}
