//! A person's device: an SDK client that writes its history.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use flare_core_sdk::{
    Client, Codec, Draft, Event, Events, FirstSight, Options, Sending, Sent, Target, TokenSource,
    Trust,
};
use flare_proto::{message::HistoryVisibility, session::CreateConversationRequest};
use prost::Message;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    recorder::{self, Recorder, Repeats},
    view::View,
};

/// A send is tried for longer than any server is away, and comes back.
const PATIENCE: Duration = Duration::from_secs(180);
/// What does not happen by then does not happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// How a device connects.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) url: String,
    /// Whose certificates it believes.
    pub(crate) trust: Trust,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) token: TokenSource,
    pub(crate) codec: Codec,
}

impl Device {
    /// The SDK's options for it: as in the field, but with less patience.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(self.url.clone(), self.token.clone(), self.device.clone());
        options.platform = "test".to_owned();
        options.codec = self.codec;
        options.first_sight = FirstSight::FromStart;
        options.shortest_pause = Duration::from_millis(20);
        options.longest_pause = Duration::from_millis(400);
        options.request_timeout = Duration::from_secs(10);
        options.send_deadline = PATIENCE;
        options.queued_events = 4_096;
        options.trust = self.trust.clone();
        options
    }
}

/// A device that is online, or tries to be.
pub(crate) struct Person {
    device: Device,
    client: Client,
    recorder: Arc<Recorder>,
    view: Arc<watch::Sender<View>>,
    consumer: JoinHandle<()>,
}

/// A device that is away. It comes back with what it had.
pub(crate) struct Away {
    device: Device,
    recorder: Arc<Recorder>,
    view: Arc<watch::Sender<View>>,
}

impl Person {
    /// Comes online for the first time.
    pub(crate) fn arrive(device: Device, recorder: Recorder) -> Self {
        Self::begin(device, Arc::new(recorder), Arc::default())
    }

    fn begin(device: Device, recorder: Arc<Recorder>, view: Arc<watch::Sender<View>>) -> Self {
        let mut options = device.options();
        options.cursors = view.borrow().cursors.clone();
        options.observer = Arc::clone(&recorder) as _;
        view.send_modify(|it| it.has_ended = false);
        let (client, events) = Client::connect(options);
        let consumer = tokio::spawn(consume(events, Arc::clone(&view), Arc::clone(&recorder)));
        Self {
            device,
            client,
            recorder,
            view,
            consumer,
        }
    }

    /// Whose device it is.
    pub(crate) fn user(&self) -> &str {
        &self.device.user
    }

    /// What it had to send more than once.
    pub(crate) fn repeats(&self) -> Repeats {
        self.recorder.repeats()
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What it has seen by now.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&View) -> T) -> T {
        at(&self.view.borrow())
    }

    /// Waits until its view has what `find` finds.
    pub(crate) async fn sees<T>(
        &self,
        what: &str,
        find: impl Fn(&View) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.sees_within(SOON, what, find).await
    }

    /// Waits so long.
    pub(crate) async fn sees_within<T>(
        &self,
        time: Duration,
        what: &str,
        find: impl Fn(&View) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut seen = self.view.subscribe();
        let waited = timeout(time, seen.wait_for(|view| find(view).is_some())).await;
        let Device { user, device, .. } = &self.device;
        let view = match waited {
            Ok(view) => view?,
            Err(_) => {
                let view = self.view.borrow();
                let reads: Vec<_> = view.cursors.conversations.iter().collect();
                return Err(anyhow!(
                    "{user}'s {device} did not see {what} within {time:?} (online: {}, inbox synced: {}, last ends: {:?}, cursors: {reads:?})",
                    view.is_online,
                    view.inbox_synced,
                    view.ends.iter().rev().take(3).collect::<Vec<_>>()
                ));
            }
        };
        find(&view).context("it was there a moment ago")
    }

    /// Waits until the device is connected and has read all that it heard of.
    pub(crate) async fn in_step(&self) -> anyhow::Result<()> {
        self.sees("all that it heard of", |view| {
            view.is_in_step().then_some(())
        })
        .await
    }

    /// Waits until a message with this text is there; gives its seq.
    pub(crate) async fn hears(&self, conversation: &str, text: &str) -> anyhow::Result<u64> {
        self.sees(&format!("{text:?} in {conversation}"), |view| {
            view.find(conversation, text)
        })
        .await
    }

    /// Waits until it has read a conversation up to this seq.
    pub(crate) async fn reads_to(&self, conversation: &str, seq: u64) -> anyhow::Result<()> {
        self.sees(&format!("seq {seq} of {conversation}"), |view| {
            (view.read_to(conversation) >= seq).then_some(())
        })
        .await
    }

    /// Says something and waits for the receipt.
    pub(crate) async fn say(&self, target: Target, text: &str) -> anyhow::Result<Sent> {
        Ok(self.saying(target, text).await?)
    }

    /// Says something to a user.
    pub(crate) async fn tell(&self, user: &str, text: &str) -> anyhow::Result<Sent> {
        self.say(Target::user(user), text).await
    }

    /// Says something in a conversation.
    pub(crate) async fn post(&self, conversation: &str, text: &str) -> anyhow::Result<Sent> {
        self.say(Target::conversation(conversation), text).await
    }

    /// Says something; the receipt comes later.
    pub(crate) fn saying(&self, target: Target, text: &str) -> Sending {
        self.client.send(Draft::text(target, text))
    }

    /// Takes a message back.
    pub(crate) async fn recall(&self, conversation: &str, seq: u64) -> anyhow::Result<Sent> {
        Ok(self.client.recall(conversation, seq).await?)
    }

    /// Makes a group with these members beside himself.
    pub(crate) async fn create_group(
        &self,
        title: &str,
        members: &[&str],
        visibility: HistoryVisibility,
    ) -> anyhow::Result<String> {
        let request = CreateConversationRequest {
            title: title.to_owned(),
            member_ids: members.iter().map(|it| (*it).to_owned()).collect(),
            history_visibility: visibility.into(),
            ..CreateConversationRequest::default()
        };
        let made = self.client.create_conversation(request).await?;
        Ok(made
            .conversation
            .context("a group without a conversation")?
            .conversation_id)
    }

    /// Writes down a message that a page of history held; gives its seq.
    pub(crate) fn saw_in_history(&self, event: &Bytes) -> Option<u64> {
        let event = flare_proto::message::Event::decode(event.clone()).ok()?;
        let delivered = recorder::delivered(&event, flare_checker::Via::History)?;
        let seq = delivered.seq;
        self.recorder
            .write(flare_checker::ClientEvent::Delivered(delivered));
        Some(seq)
    }

    /// Goes offline with all that it has.
    pub(crate) async fn leave(self) -> anyhow::Result<Away> {
        self.client.close().await;
        timeout(SOON, self.consumer)
            .await
            .context("the client's events do not end")??;
        Ok(Away {
            device: self.device,
            recorder: self.recorder,
            view: self.view,
        })
    }

    /// Ends for good: what it read is claimed to be all.
    pub(crate) async fn claims_all(self) -> anyhow::Result<()> {
        let read: Vec<(String, u64)> = self.look(|view| {
            view.memberships(self.user())
                .into_iter()
                .map(|it| (it.clone(), view.read_to(&it)))
                .collect()
        });
        for (conversation, read_to) in read {
            self.recorder.write(flare_checker::ClientEvent::End {
                conversation,
                read_to,
            });
        }
        self.recorder.write(flare_checker::ClientEvent::Quiesced);
        self.stop_recorded().await
    }

    /// Ends without a claim.
    pub(crate) async fn stop_recorded(self) -> anyhow::Result<()> {
        let failure = self.recorder.finish();
        ensure!(
            failure.is_none(),
            "a history could not be written: {failure:?}"
        );
        // The connection is dropped, not closed: no record follows the claims.
        self.consumer.abort();
        Ok(())
    }
}

impl Away {
    /// Comes back.
    pub(crate) fn back(self) -> Person {
        Person::begin(self.device, self.recorder, self.view)
    }

    /// Comes back at another address or with another token.
    pub(crate) fn back_with(mut self, change: impl FnOnce(&mut Device)) -> Person {
        change(&mut self.device);
        self.back()
    }
}

async fn consume(mut events: Events, view: Arc<watch::Sender<View>>, recorder: Arc<Recorder>) {
    let mut in_step_on = 0;
    while let Some(event) = events.next().await {
        let may_settle = !matches!(event, Event::Signal(_));
        view.send_modify(|it| {
            it.take(event);
            it.cursors.clone_from(events.cursors());
        });
        if !may_settle {
            continue;
        }
        let view = view.borrow();
        if view.connections > in_step_on && view.is_in_step() {
            in_step_on = view.connections;
            recorder.in_step(view.connections);
        }
    }
    view.send_modify(|it| it.cursors.clone_from(events.cursors()));
}
