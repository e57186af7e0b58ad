//! The topics that this house needs in Kafka: what each must be, whether it is so, and making those that are not there.
//!
//! A topic that is there is never altered: what differs is reported, and an operator decides.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{Metadata, MetadataTopic},
};

use super::KafkaConfig;

/// A day, in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// A topic whose records must survive the loss of a broker has at least so many replicas.
pub const LEAST_REPLICAS: u16 = 3;
/// So many of them have a record before it is acknowledged.
const LEAST_IN_SYNC: i64 = 2;
/// For a question to the brokers.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Brokers learn of a topic a little after it was made.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What a topic must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, without the installation's prefix.
    pub name: String,
    /// Exactly so many.
    pub partitions: u32,
    /// Its settings, besides those that follow from the number of replicas.
    pub settings: Vec<Setting>,
}

/// One of a topic's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As Kafka calls it.
    pub key: &'static str,
    /// What it may be.
    pub rule: Rule,
}

/// What a setting may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// This and nothing else.
    Is(&'static str),
    /// A number of at least `least`, or -1, which is without limit; a new topic gets `usual`.
    AtLeast {
        /// The least.
        least: i64,
        /// What a new topic gets.
        usual: i64,
    },
}

impl Setting {
    /// Must be this.
    pub fn is(key: &'static str, value: &'static str) -> Self {
        let rule = Rule::Is(value);
        Self { key, rule }
    }

    /// Must be at least `least`, or without limit; a new topic gets `usual`.
    pub fn at_least(key: &'static str, least: i64, usual: i64) -> Self {
        let rule = Rule::AtLeast { least, usual };
        Self { key, rule }
    }

    fn usual(&self) -> String {
        match self.rule {
            Rule::Is(value) => value.to_owned(),
            Rule::AtLeast { usual, .. } => usual.to_string(),
        }
    }

    /// What is wrong with `found`; None: nothing.
    fn mistake(&self, found: Option<&str>) -> Option<String> {
        let key = self.key;
        let Some(found) = found else {
            return Some(format!("{key} cannot be read"));
        };
        match self.rule {
            Rule::Is(value) => {
                (found != value).then(|| format!("{key} is {found}, it must be {value}"))
            }
            Rule::AtLeast { least, .. } => {
                let is_enough = found
                    .parse::<i64>()
                    .is_ok_and(|found| found >= least || found == -1);
                (!is_enough).then(|| format!("{key} is {found}, it must be at least {least}"))
            }
        }
    }
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    Created,
    /// It was there, as it must be.
    Present,
    /// It was there, and this is wrong with it. Nothing was altered.
    Differs(Vec<String>),
}

/// Why nobody knows, or nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// A client cannot be made of the configuration.
    #[error("a client of Kafka cannot be made: {0}")]
    Client(#[source] KafkaError),
    /// The brokers do not answer.
    #[error("Kafka at {servers} does not answer: {source}")]
    Unreachable {
        /// Whom was asked.
        servers: String,
        /// What came of it.
        source: KafkaError,
    },
    /// A topic cannot be made.
    #[error("topic {topic} cannot be made: {code}")]
    Refused {
        /// Which.
        topic: String,
        /// What the brokers say.
        code: RDKafkaErrorCode,
    },
    /// A topic was made, and the brokers do not show it.
    #[error("topic {topic} was made, and is not there after {} s", ASK_TIMEOUT.as_secs())]
    Hidden {
        /// Which.
        topic: String,
    },
    /// So few copies are refused.
    #[error(
        "{replicas} replicas: at least {LEAST_REPLICAS} are needed, unless kafka.allow_single_replica is true"
    )]
    TooFewReplicas {
        /// How many were asked for.
        replicas: u16,
    },
}

/// Makes the topics that are not there, with `replicas` copies of each record, and says for each what became of it.
///
/// # Errors
/// [`TopicsError`]. Those that were made before stay.
pub async fn create(
    config: &KafkaConfig,
    replicas: u16,
    specs: &[TopicSpec],
) -> Result<Vec<(String, Made)>, TopicsError> {
    if replicas == 0 || (replicas < LEAST_REPLICAS && !config.allow_single_replica) {
        return Err(TopicsError::TooFewReplicas { replicas });
    }
    let cluster = Cluster::ask(config).await?;
    let mut made = Vec::new();
    for spec in specs {
        let topic = config.named(&spec.name);
        let outcome = if cluster.topics.contains_key(&topic) {
            match cluster.mistakes(spec).await? {
                none if none.is_empty() => Made::Present,
                mistakes => Made::Differs(mistakes),
            }
        } else {
            cluster.create(&topic, replicas, spec).await?;
            Made::Created
        };
        made.push((topic, outcome));
    }
    Ok(made)
}

/// Everything that is wrong with these topics, one line each; empty: they are as they must be.
///
/// # Errors
/// [`TopicsError::Client`], [`TopicsError::Unreachable`].
pub async fn mistakes(
    config: &KafkaConfig,
    specs: &[TopicSpec],
) -> Result<Vec<String>, TopicsError> {
    let cluster = Cluster::ask(config).await?;
    let mut mistakes = Vec::new();
    for spec in specs {
        mistakes.extend(cluster.mistakes(spec).await?);
    }
    Ok(mistakes)
}

/// The brokers, and the topics that they had when they were asked.
pub(crate) struct Cluster<'a> {
    config: &'a KafkaConfig,
    admin: Arc<AdminClient<DefaultClientContext>>,
    brokers: Vec<i32>,
    /// By name: how many replicas each partition has.
    topics: BTreeMap<String, Vec<usize>>,
}

impl<'a> Cluster<'a> {
    pub(crate) async fn ask(config: &'a KafkaConfig) -> Result<Self, TopicsError> {
        let admin: AdminClient<DefaultClientContext> =
            config.client().create().map_err(TopicsError::Client)?;
        let admin = Arc::new(admin);
        let metadata = metadata(config, &admin).await?;
        let replicas = |topic: &MetadataTopic| {
            let partitions = topic.partitions().iter();
            partitions.map(|it| it.replicas().len()).collect()
        };
        let topics = metadata.topics().iter();
        Ok(Self {
            config,
            admin,
            brokers: metadata.brokers().iter().map(|it| it.id()).collect(),
            topics: topics
                .filter(|it| it.error().is_none())
                .map(|it| (it.name().to_owned(), replicas(it)))
                .collect(),
        })
    }

    /// What is wrong with the topic.
    pub(crate) async fn mistakes(&self, spec: &TopicSpec) -> Result<Vec<String>, TopicsError> {
        let topic = self.config.named(&spec.name);
        let Some(found) = self.topics.get(&topic) else {
            return Ok(vec![format!(
                "topic {topic} is not there: `flare topics create` makes it"
            )]);
        };
        let mut mistakes = Vec::new();
        let partitions = found.len();
        if partitions != spec.partitions as usize {
            mistakes.push(format!(
                "it has {partitions} partitions, it must have exactly {}",
                spec.partitions
            ));
        }
        let replicas = found.iter().copied().min().unwrap_or(0);
        if replicas < usize::from(LEAST_REPLICAS) && !self.config.allow_single_replica {
            mistakes.push(format!(
                "it has {replicas} replicas, it must have at least {LEAST_REPLICAS}, unless kafka.allow_single_replica is true"
            ));
        }
        let described = self.describe(ResourceSpecifier::Topic(&topic)).await?;
        let in_sync = (!self.config.allow_single_replica).then(|| in_sync(LEAST_IN_SYNC));
        for setting in spec.settings.iter().chain(&in_sync) {
            let found = described.get(setting.key);
            mistakes.extend(setting.mistake(found.and_then(|it| it.value.as_deref())));
        }
        Ok(mistakes
            .into_iter()
            .map(|mistake| format!("topic {topic}: {mistake}"))
            .collect())
    }

    /// What each broker says of a setting of its own; brokers that keep it to themselves are left out.
    pub(crate) async fn broker_settings(&self, key: &str) -> BTreeMap<i32, String> {
        let mut settings = BTreeMap::new();
        for broker in &self.brokers {
            match self.describe(ResourceSpecifier::Broker(*broker)).await {
                Ok(described) => {
                    let value = described.get(key).and_then(|it| it.value.clone());
                    settings.extend(value.map(|value| (*broker, value)));
                }
                Err(error) => {
                    tracing::debug!(broker, %error, "settings cannot be read");
                }
            }
        }
        settings
    }

    async fn describe(&self, what: ResourceSpecifier<'_>) -> Result<ConfigResource, TopicsError> {
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let described = self
            .admin
            .describe_configs([&what], &options)
            .await
            .map_err(|source| unreachable(self.config, source))?;
        match described.into_iter().next() {
            Some(Ok(described)) => Ok(described),
            Some(Err(code)) => Err(unreachable(self.config, KafkaError::AdminOp(code))),
            None => Err(unreachable(
                self.config,
                KafkaError::AdminOp(RDKafkaErrorCode::Unknown),
            )),
        }
    }

    async fn create(
        &self,
        topic: &str,
        replicas: u16,
        spec: &TopicSpec,
    ) -> Result<(), TopicsError> {
        let values: Vec<_> = spec
            .settings
            .iter()
            .chain(&[in_sync(LEAST_IN_SYNC.min(i64::from(replicas)))])
            .map(|it| (it.key, it.usual()))
            .collect();
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(i32::from(replicas));
        let mut new = NewTopic::new(topic, partitions, replication);
        for (key, value) in &values {
            new = new.set(key, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(ASK_TIMEOUT))
            .operation_timeout(Some(ASK_TIMEOUT));
        let results = self
            .admin
            .create_topics([&new], &options)
            .await
            .map_err(|source| unreachable(self.config, source))?;
        for result in results {
            result.map_err(|(topic, code)| TopicsError::Refused { topic, code })?;
        }
        let deadline = Instant::now() + ASK_TIMEOUT;
        while !is_whole(&metadata(self.config, &self.admin).await?, topic) {
            if Instant::now() > deadline {
                let topic = topic.to_owned();
                return Err(TopicsError::Hidden { topic });
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(())
    }
}

fn in_sync(least: i64) -> Setting {
    Setting::at_least("min.insync.replicas", least, least)
}

/// Asked for all topics: who asks for one by name may make it.
async fn metadata(
    config: &KafkaConfig,
    admin: &Arc<AdminClient<DefaultClientContext>>,
) -> Result<Metadata, TopicsError> {
    let admin = Arc::clone(admin);
    tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, ASK_TIMEOUT))
        .await
        .unwrap_or(Err(KafkaError::Canceled))
        .map_err(|source| unreachable(config, source))
}

fn is_whole(metadata: &Metadata, topic: &str) -> bool {
    metadata.topics().iter().any(|it| {
        it.name() == topic
            && it.error().is_none()
            && it.partitions().iter().all(|it| it.leader() >= 0)
    })
}

fn unreachable(config: &KafkaConfig, source: KafkaError) -> TopicsError {
    TopicsError::Unreachable {
        servers: config.bootstrap_servers.join(","),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_what_is_wrong_with_a_value() {
        let policy = Setting::is("cleanup.policy", "delete");
        assert_eq!(policy.mistake(Some("delete")), None);
        assert_eq!(
            policy.mistake(Some("compact")).as_deref(),
            Some("cleanup.policy is compact, it must be delete")
        );
        assert!(policy.mistake(None).is_some());

        let retention = Setting::at_least("retention.ms", DAY_MS, 7 * DAY_MS);
        for enough in ["86400000", "604800000", "-1"] {
            assert_eq!(retention.mistake(Some(enough)), None, "{enough}");
        }
        for too_little in ["86399999", "-2", "", "a day"] {
            assert!(
                retention.mistake(Some(too_little)).is_some(),
                "{too_little}"
            );
        }
        assert_eq!(retention.usual(), "604800000");
    }
}
