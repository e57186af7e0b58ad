//! How this process reaches etcd: a thin client of what its registry uses, by etcd's own contract.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use self::rpc::{
    KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
    kv_client::KvClient, lease_client::LeaseClient, request_op, watch_client::WatchClient,
    watch_request::RequestUnion,
};

pub use crate::servers::EtcdConfig;

pub(crate) mod rpc {
    #![expect(unreachable_pub, reason = "generated")]

    tonic::include_proto!("etcdserverpb");
}

/// Keys in one answer.
const PAGE: i64 = 1_000;
/// Streams notice a dead server after about twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why etcd did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EtcdError {
    /// No endpoint stands in the configuration, or one is no URI.
    #[error("etcd's endpoints are not usable: {0}")]
    Endpoints(String),
    /// It does not answer, or has no leader; it may later.
    #[error("etcd at {at} is unavailable: {why}")]
    Unavailable {
        /// The member that was asked.
        at: String,
        /// Why.
        why: String,
    },
    /// The lease has ended: what stood on it is gone.
    #[error("etcd knows no lease {0}")]
    NoSuchLease(i64),
    /// The revision from which to watch is not kept any more.
    #[error("etcd's history begins at revision {0}")]
    Compacted(i64),
}

/// All keys under a prefix, at one revision.
pub(crate) struct Snapshot {
    pub(crate) revision: i64,
    pub(crate) pairs: Vec<KeyValue>,
}

/// The members of a cluster, one of which is asked until it fails.
pub(crate) struct EtcdClient {
    members: Vec<(String, Channel)>,
    current: AtomicUsize,
    timeout: Duration,
}

impl EtcdClient {
    pub(crate) fn new(config: &EtcdConfig) -> Result<Self, EtcdError> {
        let wait = Duration::from_millis(config.timeout_ms.into());
        let member = |uri: &String| {
            let endpoint = Endpoint::from_shared(uri.clone())
                .map_err(|error| EtcdError::Endpoints(format!("{uri:?}: {error}")))?;
            let channel = endpoint
                .connect_timeout(wait)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .keep_alive_while_idle(true)
                .connect_lazy();
            Ok((uri.clone(), channel))
        };
        let members: Vec<_> = config
            .endpoints
            .iter()
            .map(member)
            .collect::<Result<_, EtcdError>>()?;
        if members.is_empty() {
            return Err(EtcdError::Endpoints("none is given".to_owned()));
        }
        Ok(Self {
            members,
            current: AtomicUsize::new(0),
            timeout: wait,
        })
    }

    /// Calls a member; after a failure the next call goes to another.
    async fn call<T, F>(&self, call: impl FnOnce(Channel) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let turn = self.current.load(Ordering::Relaxed);
        let Some((at, channel)) = self.members.get(turn % self.members.len()) else {
            return Err(Failure::new("", Status::internal("no member")));
        };
        let outcome = timeout(self.timeout, call(channel.clone())).await;
        let status = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded(format!("no answer within {:?}", self.timeout)),
        };
        let next = turn.wrapping_add(1);
        // Whoever has failed at the same time has gone on already.
        let _ = self
            .current
            .compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
        Err(Failure::new(at, status))
    }

    /// All keys under `prefix`.
    pub(crate) async fn snapshot(&self, prefix: &str) -> Result<Snapshot, EtcdError> {
        let mut snapshot = Snapshot {
            revision: 0,
            pairs: Vec::new(),
        };
        let mut key = prefix.as_bytes().to_vec();
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: end_of(prefix),
                limit: PAGE,
                revision: snapshot.revision,
            };
            let call = |channel| async move { KvClient::new(channel).range(request).await };
            let answer = self.call(call).await?.into_inner();
            if snapshot.revision == 0 {
                snapshot.revision = answer.header.unwrap_or_default().revision;
            }
            let last = answer.kvs.last().map(|it| it.key.clone());
            snapshot.pairs.extend(answer.kvs);
            match last {
                Some(last) if answer.more => {
                    key = last;
                    key.push(0);
                }
                _ => return Ok(snapshot),
            }
        }
    }

    /// Puts pairs, all or none, onto a lease.
    pub(crate) async fn put_all(
        &self,
        pairs: Vec<(String, Vec<u8>)>,
        lease: i64,
    ) -> Result<(), EtcdError> {
        let put = |(key, value): (String, Vec<u8>)| RequestOp {
            request: Some(request_op::Request::RequestPut(PutRequest {
                key: key.into_bytes(),
                value,
                lease,
            })),
        };
        let request = TxnRequest {
            success: pairs.into_iter().map(put).collect(),
        };
        let call = |channel| async move { KvClient::new(channel).txn(request).await };
        let outcome = self.call(call).await;
        outcome.map(drop).map_err(|it| it.of_lease(lease))
    }

    /// Makes a lease.
    pub(crate) async fn grant(&self, seconds: u32) -> Result<i64, EtcdError> {
        let request = LeaseGrantRequest {
            ttl: seconds.into(),
        };
        let call = |channel| async move { LeaseClient::new(channel).lease_grant(request).await };
        Ok(self.call(call).await?.into_inner().id)
    }

    /// Ends a lease, and what stands on it.
    pub(crate) async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        let request = LeaseRevokeRequest { id: lease };
        let call = |channel| async move { LeaseClient::new(channel).lease_revoke(request).await };
        let outcome = self.call(call).await;
        outcome.map(drop).map_err(|it| it.of_lease(lease))
    }

    /// Renews a lease.
    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<(), EtcdError> {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id: lease });
        let call = |channel| async move {
            let mut leases = LeaseClient::new(channel);
            let mut answers = leases
                .lease_keep_alive(with_leader(request))
                .await?
                .into_inner();
            let answer = answers.message().await?;
            answer.ok_or_else(|| Status::unavailable("the stream has ended"))
        };
        let answer = self.call(call).await.map_err(|it| it.of_lease(lease))?;
        if answer.ttl > 0 {
            Ok(())
        } else {
            Err(EtcdError::NoSuchLease(lease))
        }
    }

    /// What happens under `prefix` from `revision` on.
    pub(crate) async fn watch(&self, prefix: &str, revision: i64) -> Result<Watch, EtcdError> {
        let create = WatchCreateRequest {
            key: prefix.as_bytes().to_vec(),
            range_end: end_of(prefix),
            start_revision: revision,
            fragment: true,
        };
        let (asked, requests) = mpsc::channel(1);
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // There is room for it.
        let _ = asked.try_send(request);
        let call = |channel| async move {
            let requests = with_leader(ReceiverStream::new(requests));
            WatchClient::new(channel).watch(requests).await
        };
        let events = self.call(call).await?.into_inner();
        Ok(Watch {
            events,
            _asked: asked,
        })
    }
}

/// A stream of changes.
pub(crate) struct Watch {
    events: Streaming<WatchResponse>,
    /// The watch lasts as long as its requests' stream.
    _asked: mpsc::Sender<WatchRequest>,
}

impl Watch {
    /// The next changes; none: it has only begun.
    pub(crate) async fn next(&mut self) -> Result<Vec<rpc::Event>, EtcdError> {
        let broken = |why: &str| EtcdError::Unavailable {
            at: "a watch".to_owned(),
            why: why.to_owned(),
        };
        let answer = match self.events.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(broken("the stream has ended")),
            Err(status) => return Err(broken(status.message())),
        };
        if answer.compact_revision > 0 {
            return Err(EtcdError::Compacted(answer.compact_revision));
        }
        if answer.canceled {
            return Err(broken(&answer.cancel_reason));
        }
        Ok(answer.events)
    }
}

/// A failed call to a member.
struct Failure {
    at: String,
    status: Status,
}

impl Failure {
    fn new(at: &str, status: Status) -> Self {
        Self {
            at: at.to_owned(),
            status,
        }
    }

    fn of_lease(self, lease: i64) -> EtcdError {
        if self.status.code() == Code::NotFound {
            EtcdError::NoSuchLease(lease)
        } else {
            self.into()
        }
    }
}

impl From<Failure> for EtcdError {
    fn from(failure: Failure) -> Self {
        Self::Unavailable {
            at: failure.at,
            why: failure.status.message().to_owned(),
        }
    }
}

/// A member that has lost the others ends the stream, and does not let it wait in silence.
fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
    request
}

/// The first key behind all that begin with `prefix`; all keys, if there is none.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(end_of("flare/"), b"flare0");
        assert_eq!(end_of(""), [0]);
    }

    #[tokio::test]
    async fn a_client_without_members_is_refused() {
        let refused = EtcdClient::new(&EtcdConfig::default()).err();
        assert!(matches!(refused, Some(EtcdError::Endpoints(_))));
    }
}
