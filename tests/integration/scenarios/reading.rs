//! What is unread, and what was read elsewhere.

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::{Draft, Target, methods};
use flare_proto::{
    client::{ReadMark, signal},
    message::{Content, HistoryVisibility, Mention, Text, content::Kind},
    session::{InboxEntry, SyncInboxRequest},
};
use tokio::time::Instant;

use crate::{
    arguments::Arguments,
    judge::Minimums,
    person::{Person, SOON},
    scene::Scene,
};

/// Asks for the inbox until the conversation's entry is as it should be.
pub(super) async fn inbox_shows(
    person: &Person,
    conversation: &str,
    what: &str,
    is_right: impl Fn(&InboxEntry) -> bool,
) -> anyhow::Result<InboxEntry> {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = person
            .client()
            .call(&methods::SYNC_INBOX, &SyncInboxRequest::default())
            .await?;
        let is_it = |it: &InboxEntry| {
            it.conversation
                .as_ref()
                .is_some_and(|it| it.conversation_id == conversation)
        };
        let entry = answer.entries.into_iter().find(is_it);
        match entry {
            Some(entry) if is_right(&entry) => return Ok(entry),
            entry => ensure!(
                Instant::now() < deadline,
                "{}: no {what} in {conversation}, but {entry:?}",
                person.user()
            ),
        }
    }
}

/// Waits until a device is told that a user has read so far.
async fn read_mark(
    person: &Person,
    conversation: &str,
    user: &str,
    seq: u64,
) -> anyhow::Result<()> {
    let mark = signal::Signal::Read(ReadMark { seq });
    person
        .sees(&format!("{user}'s read mark at {seq}"), |view| {
            let is_it = |it: &&_| {
                let it: &flare_proto::client::Signal = it;
                it.conversation_id == conversation && it.user_id == user && it.signal == Some(mark)
            };
            view.signals.iter().find(is_it).map(|_| ())
        })
        .await
}

fn mentioning(text: &str, users: &[&str], all: bool) -> Content {
    Content {
        kind: Some(Kind::Text(Text {
            text: text.to_owned(),
        })),
        mentions: users
            .iter()
            .map(|it| Mention {
                user_id: (*it).to_owned(),
                ..Mention::default()
            })
            .collect(),
        mention_all: all,
        ..Content::default()
    }
}

/// Counts of unread messages and mentions, recalls taken off; reading on one device shows on the others, and to the others.
pub(crate) async fn unread_and_read_across_devices(
    scene: Scene,
    _: &Arguments,
) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let phone = scene.arrives("ben", "phone").await?;
    let laptop = scene.arrives("ben", "laptop").await?;

    // Direct.
    let mut last = ann.tell("ben", "one").await?;
    let chat = last.conversation_id.clone();
    for text in ["two", "three"] {
        last = ann.tell("ben", text).await?;
    }
    inbox_shows(&phone, &chat, "three unread", |it| {
        it.unread_count == 3 && it.head_seq == 3
    })
    .await?;
    inbox_shows(&ann, &chat, "nothing unread", |it| {
        it.unread_count == 0 && it.read_seq == 3
    })
    .await?;
    phone.reads_to(&chat, last.seq).await?;
    let answer = phone.client().mark_read(&chat, 2).await?;
    ensure!(
        answer.read_seq == 2 && answer.unread_count == 1,
        "{answer:?}"
    );
    read_mark(&laptop, &chat, "ben", 2).await?;
    read_mark(&ann, &chat, "ben", 2).await?;
    inbox_shows(&laptop, &chat, "one unread", |it| {
        it.unread_count == 1 && it.read_seq == 2
    })
    .await?;
    // Only forward, and not beyond the head.
    let answer = laptop.client().mark_read(&chat, 1).await?;
    ensure!(answer.read_seq == 2, "it went back: {answer:?}");
    ensure!(
        laptop.client().mark_read(&chat, 4).await.is_err(),
        "a position beyond the head was taken"
    );
    // Who answers has read.
    let answered = laptop.post(&chat, "four").await?.seq;
    inbox_shows(&phone, &chat, "nothing unread", |it| {
        it.unread_count == 0 && it.read_seq == answered
    })
    .await?;

    // A group, with mentions and a recall.
    let group = ann
        .create_group("Reading", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    let to = || Target::conversation(&group);
    let mut seqs = Vec::new();
    for content in [
        mentioning("plain", &[], false),
        mentioning("you", &["ben"], false),
        mentioning("somebody else", &["cat"], false),
        mentioning("everybody", &[], true),
        mentioning("to be taken back", &["ben"], false),
    ] {
        seqs.push(ann.client().send(Draft::new(to(), &content)).await?.seq);
    }
    inbox_shows(&phone, &group, "five unread, three mentions", |it| {
        it.unread_count == 5 && it.mention_count == 3
    })
    .await?;
    let recalled = ann.recall(&group, seqs[4]).await?.seq;
    inbox_shows(&phone, &group, "four unread, two mentions", |it| {
        it.unread_count == 4 && it.mention_count == 2
    })
    .await?;
    phone.reads_to(&group, recalled).await?;
    let answer = phone.client().mark_read(&group, seqs[1]).await?;
    ensure!(answer.unread_count == 2, "{answer:?}");
    read_mark(&laptop, &group, "ben", seqs[1]).await?;
    read_mark(&ann, &group, "ben", seqs[1]).await?;
    inbox_shows(&laptop, &group, "two unread, one mention", |it| {
        it.unread_count == 2 && it.mention_count == 1
    })
    .await?;
    phone.client().mark_read(&group, recalled).await?;
    inbox_shows(&laptop, &group, "nothing unread", |it| {
        it.unread_count == 0 && it.mention_count == 0
    })
    .await?;

    // A position is kept.
    let mut scene = scene;
    scene.restart(crate::deployment::Part::Core).await?;
    let is_read =
        |it: &InboxEntry| it.read_seq == recalled && it.unread_count == 0 && it.mention_count == 0;
    inbox_shows(&laptop, &group, "nothing unread after a restart", is_read).await?;
    let minimums = Minimums {
        acks: 10,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: 20,
        syncs: 0,
        restarts: 1,
        beside: Counts {
            clients: 3,
            recalls: 1,
            ends: 6,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, phone, laptop], minimums).await
}
