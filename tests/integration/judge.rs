//! The server's side of the story, read through its public API, and the verdict over it and all histories.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use flare_checker::{
    Checker, ClientEvent, Counts, Intent, Record, Target, Verdict, read_histories,
};
use flare_history::Translator;
use flare_proto::{
    gateway::core_gateway_service_client::CoreGatewayServiceClient,
    storage::{ReadRange, ReadRangesRequest},
};
use tokio::time::Instant;
use tonic::{
    Code, Request,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::{authority::Authority, person::SOON};

const TENANT: &str = "default";
/// The largest page of events.
const PAGE: u32 = 200;

/// A conversation as the server keeps it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) floor_seq: u64,
    pub(crate) head_seq: u64,
    pub(crate) events: Vec<Bytes>,
}

/// Reads the server as a backend does, acting as the system.
#[derive(Clone)]
pub(crate) struct Backend {
    client: CoreGatewayServiceClient<Channel>,
    key: String,
}

impl Backend {
    /// Connects when it is first needed.
    pub(crate) fn new(api: &str, authority: Option<&Authority>, key: &str) -> anyhow::Result<Self> {
        let mut endpoint = Channel::from_shared(api.to_owned())?;
        if let Some(authority) = authority {
            let certificate = Certificate::from_pem(authority.pem()?);
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(certificate))?;
        }
        let channel = endpoint.connect_lazy();
        Ok(Self {
            client: CoreGatewayServiceClient::new(channel),
            key: key.to_owned(),
        })
    }

    /// The stub.
    pub(crate) fn client(&self) -> CoreGatewayServiceClient<Channel> {
        self.client.clone()
    }

    /// A request with the key.
    pub(crate) fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("x-api-key", MetadataValue::try_from(self.key.as_str())?);
        Ok(request)
    }

    /// One page of a conversation.
    async fn page(
        &self,
        conversation: &str,
        after_seq: u64,
        limit: u32,
    ) -> anyhow::Result<Option<(Kept, bool)>> {
        let deadline = Instant::now() + SOON;
        let answer = loop {
            let range = ReadRange {
                conversation_id: conversation.to_owned(),
                after_seq,
                limit: Some(limit),
            };
            let request = self.request(ReadRangesRequest {
                context: None,
                ranges: vec![range],
            })?;
            match self.client().read_ranges(request).await {
                Ok(answer) => break answer.into_inner(),
                // A server that has just come back: the connection to the old one is noticed by using it.
                Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                Err(status) => bail!("reading {conversation} after {after_seq}: {status}"),
            }
        };
        let result = answer
            .ranges
            .into_iter()
            .next()
            .context("an answer without the range")?;
        match result.error {
            Some(error) if error.code().as_str_name().ends_with("NOT_FOUND") => Ok(None),
            Some(error) => bail!("reading {conversation} after {after_seq}: {error:?}"),
            None => {
                let kept = Kept {
                    floor_seq: result.floor_seq,
                    head_seq: result.head_seq,
                    events: result.events,
                };
                Ok(Some((kept, result.has_more)))
            }
        }
    }

    /// The committed head; 0 if the server knows nothing of the conversation.
    pub(crate) async fn head(&self, conversation: &str) -> anyhow::Result<u64> {
        Ok(self
            .page(conversation, 0, 1)
            .await?
            .map_or(0, |(page, _)| page.head_seq))
    }

    /// All that the server keeps of a conversation, once it shows `at_least`: the store may lag behind a receipt for a moment.
    pub(crate) async fn read(&self, conversation: &str, at_least: u64) -> anyhow::Result<Kept> {
        let deadline = Instant::now() + SOON;
        while self.head(conversation).await? < at_least {
            ensure!(
                Instant::now() < deadline,
                "{conversation} never reaches seq {at_least}, which was acked"
            );
        }
        let mut kept = Kept::default();
        let mut after_seq = 0;
        while let Some((page, has_more)) = self.page(conversation, after_seq, PAGE).await? {
            kept.floor_seq = page.floor_seq;
            kept.head_seq = page.head_seq;
            after_seq = after_seq.max(page.floor_seq.saturating_sub(1)) + page.events.len() as u64;
            let is_empty = page.events.is_empty();
            kept.events.extend(page.events);
            if !has_more || is_empty {
                break;
            }
        }
        Ok(kept)
    }
}

/// Which conversations histories tell of, each with the highest seq that was acked.
fn conversations(records: &[Record]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for record in records {
        match &record.event {
            ClientEvent::Acked(it) => {
                let seq: &mut u64 = found.entry(it.conversation.clone()).or_default();
                *seq = it.seq.max(*seq);
            }
            ClientEvent::Delivered(it) => {
                found.entry(it.conversation.clone()).or_default();
            }
            ClientEvent::End { conversation, .. } => {
                found.entry(conversation.clone()).or_default();
            }
            ClientEvent::Intent(Intent {
                target: Target::Conversation(conversation),
                ..
            }) => {
                found.entry(conversation.clone()).or_default();
            }
            _ => {}
        }
    }
    found
}

/// Which conversations some histories tell of.
pub(crate) fn told_of(histories: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let records = read_histories(histories).collect::<Result<Vec<_>, _>>()?;
    Ok(conversations(&records).into_keys().collect())
}

/// When judgement is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hour {
    /// While clients go on: the server has what no history read so far intended.
    Meanwhile,
    /// When everything is over.
    After,
}

/// Judges histories against the server as it is now.
pub(crate) async fn judge(
    backend: &Backend,
    histories: &[PathBuf],
    hour: Hour,
) -> anyhow::Result<Verdict> {
    let records = read_histories(histories).collect::<Result<Vec<_>, _>>()?;
    let mut checker = Checker::new();
    if hour == Hour::After {
        checker.declare_all_senders_recorded();
    }
    checker.declare_store_known();
    for record in &records {
        checker.add(record);
    }
    let mut translator = Translator::default();
    for (conversation, acked) in conversations(&records) {
        let kept = backend.read(&conversation, acked).await?;
        checker.add_server_floor(TENANT, &conversation, kept.floor_seq);
        for event in kept.events {
            checker.add_server_event(&translator.event(event)?);
        }
    }
    Ok(checker.verdict())
}

/// How much must have happened. What every scenario names has no default: none is forgotten, and 0 says that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minimums {
    pub(crate) acks: u64,
    pub(crate) refusals: u64,
    pub(crate) retries: u64,
    pub(crate) duplicates: u64,
    pub(crate) deliveries: u64,
    pub(crate) syncs: u64,
    pub(crate) restarts: u64,
    /// What the scenario is about beside these.
    pub(crate) beside: Counts,
}

impl From<Minimums> for Counts {
    fn from(it: Minimums) -> Self {
        Self {
            acks: it.acks,
            refusals: it.refusals,
            retries: it.retries,
            duplicates: it.duplicates,
            deliveries: it.deliveries,
            syncs: it.syncs,
            restarts: it.restarts,
            ..it.beside
        }
    }
}

/// Demands that every promise was kept, and that enough happened for that to mean something.
pub(crate) fn demand(verdict: &Verdict, minimums: &Counts) -> anyhow::Result<()> {
    verdict
        .require(minimums)
        .with_context(|| format!("what was seen:\n{verdict}"))
}
