//! Reads as people do: moves the read position, turns a page back, goes away and comes back.

use anyhow::{Context, bail, ensure};
use flare_proto::{
    message::EventKind,
    session::MarkReadResponse,
    storage::{HistoryRequest, HistoryResponse, history_request::Position},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Answer, BURST_EVERY, Order, Orders, Outcome, PATIENCE, Tally, Task, next_order, say};
use crate::{
    person::{Person, SOON},
    view::View,
};

/// Reads, and now and then goes away for a while, until it is told to settle.
pub(super) async fn read(
    task: &Task,
    mut person: Person,
    tally: &mut Tally,
    orders: &mut Orders,
) -> anyhow::Result<Person> {
    let mut rng = StdRng::seed_from_u64(task.seed);
    loop {
        let goal = person.look(View::read_in_all) + rng.random_range(50..400);
        let more = person.sees_within(PATIENCE, "more", |view| {
            (view.read_in_all() >= goal).then_some(())
        });
        tokio::select! {
            more = more => more.with_context(|| format!("nothing came within {PATIENCE:?}"))?,
            order = next_order(orders) => match order? {
                Order::Settle => return Ok(person),
                Order::Finish(_) => bail!("told to finish before it has settled"),
            },
        }
        let conversations = person.look(|view| view.memberships(person.user()));
        for conversation in conversations {
            marks(&person, &conversation, tally).await?;
            turns_a_page(&person, &conversation, tally).await?;
        }
        say(&Answer::Progress(person.look(View::read_in_all)))?;
        person = person.leave().await?.back();
        tally.returns += 1;
    }
}

/// Moves the read position to what it has read.
async fn marks(person: &Person, conversation: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let read = person.look(|view| view.read_to(conversation));
    if read == 0 {
        return Ok(());
    }
    match Outcome::of(person.client().mark_read(conversation, read).await)? {
        Outcome::Done(MarkReadResponse { read_seq, .. }) => {
            ensure!(
                read_seq >= read,
                "the read position in {conversation} was moved to {read}, and stands at {read_seq}"
            );
            tally.marks += 1;
        }
        Outcome::Open => tally.unknown += 1,
        Outcome::Refused(code) => {
            bail!(
                "a read position at {read} of {conversation} was refused: {}",
                code.as_str_name()
            )
        }
    }
    Ok(())
}

/// The page before what it has read last holds every message that it has read there.
async fn turns_a_page(
    person: &Person,
    conversation: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let end = person.look(|view| view.read_to(conversation)) + 1;
    let request = HistoryRequest {
        conversation_id: conversation.to_owned(),
        position: Some(Position::BeforeSeq(end)),
        ..HistoryRequest::default()
    };
    let page = match Outcome::of(person.client().history(request).await)? {
        Outcome::Done(page) => page,
        Outcome::Open => {
            tally.unknown += 1;
            return Ok(());
        }
        Outcome::Refused(code) => bail!(
            "a page of {conversation} was refused: {}",
            code.as_str_name()
        ),
    };
    let seqs = writes_down(person, &page);
    let begin = seqs.first().copied().unwrap_or(end);
    let begin = if page.next_page_token.is_empty() {
        page.floor_seq.max(1)
    } else {
        begin
    };
    let read: Vec<u64> = person.look(|view| {
        view.events_of(conversation)
            .filter(|(seq, it)| (begin..end).contains(seq) && it.kind == EventKind::MessageCreated)
            .map(|(seq, _)| seq)
            .collect()
    });
    ensure!(
        seqs == read,
        "the page before {end} of {conversation} holds {seqs:?}, but {read:?} was read"
    );
    tally.pages += 1;
    Ok(())
}

/// Writes a page into the history, for the checker to judge; gives the seqs.
pub(super) fn writes_down(person: &Person, page: &HistoryResponse) -> Vec<u64> {
    let events = page.messages.iter().map(|it| &it.event);
    events.filter_map(|it| person.saw_in_history(it)).collect()
}

/// With everything read and marked, nothing is unread anywhere.
pub(super) async fn nothing_is_unread(person: &Person) -> anyhow::Result<()> {
    let deadline = Instant::now() + SOON;
    let mut attempts = interval(BURST_EVERY);
    attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for conversation in person.look(|view| view.memberships(person.user())) {
        let read = person.look(|view| view.read_to(&conversation));
        loop {
            attempts.tick().await;
            let answer = person.client().mark_read(&conversation, read).await;
            match &answer {
                Ok(it) if it.read_seq == read && it.unread_count == 0 => break,
                _ => ensure!(
                    Instant::now() < deadline,
                    "all {read} of {conversation} are read, but the server says {answer:?}"
                ),
            }
        }
    }
    Ok(())
}
