//! What `close` owes. Each obligation leaves the store open for who comes next, whatever it found.

use std::{future::ready, pin::pin, sync::Arc, time::Duration};

use tokio::{select, time::timeout};

use super::{
    Outcome, Script, Subject,
    script::{answer, id_of, same},
};
use crate::message_store::StoreError;

/// All that was committed is there when the store is opened again.
pub(super) async fn a_closed_store_has_kept_everything(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    for _ in 0..5 {
        let events = script.messages("general", 5)?;
        answer(store.commit(script.batch(events)).await)?;
    }
    let closed = store.close().await;
    drop(store);
    let store = subject.crash().await;
    answer(closed)?;
    let cursor = answer(store.cursor(script.partition).await)?;
    same(
        "the next offset",
        cursor.next_offset,
        script.cursor.next_offset,
    )
}

/// Commits are refused with `Closed`.
pub(super) async fn a_closed_store_takes_no_more(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let closed = store.close().await;
    let events = script.messages("general", 1)?;
    let late = store.commit(script.batch(events)).await;
    drop(store);
    subject.crash().await;
    answer(closed)?;
    same("a commit after close", late, Err(StoreError::Closed))
}

/// Services that read end later than the one that commits.
pub(super) async fn a_closed_store_still_answers(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let event = script.message("general", "last words")?;
    answer(store.commit(script.batch(vec![event.clone()])).await)?;
    let closed = store.close().await;
    let key = script.key("general");
    let run = store.range(&key, 0, 10, usize::MAX).await;
    let heads = store.heads(&[key]).await;
    let receipts = store.receipts(&[id_of(&event)]).await;
    drop(store);
    subject.crash().await;
    answer(closed)?;
    same("the range", answer(run)?, vec![event.event().clone()])?;
    same(
        "the head",
        answer(heads)?,
        vec![Some(script.head("general"))],
    )?;
    same(
        "the receipt",
        answer(receipts)?,
        vec![Some((event.receipt(), event.fingerprint()))],
    )
}

/// Who waits for more is told that nothing comes.
pub(super) async fn waiters_end_with_the_store(
    subject: Arc<dyn Subject>,
    script: Script,
) -> Outcome {
    let store = subject.store();
    let reached = {
        let mut waiting = pin!(store.wait_beyond(script.partition, 7));
        let early = select! {
            biased;
            early = &mut waiting => Some(early),
            () = ready(()) => None,
        };
        let closed = store.close().await;
        match early {
            // Whether it waits is another obligation's subject.
            Some(_) => Ok(Err(StoreError::Closed)),
            None => timeout(Duration::from_secs(10), waiting)
                .await
                .map_err(|_| format!("nobody woke who waited, the closing gave {closed:?}")),
        }
    };
    drop(store);
    subject.crash().await;
    same("what the waiter got", reached?, Err(StoreError::Closed))
}

/// Nothing happens.
pub(super) async fn a_store_may_be_closed_again(
    subject: Arc<dyn Subject>,
    mut script: Script,
) -> Outcome {
    let store = subject.store();
    let events = script.messages("general", 1)?;
    answer(store.commit(script.batch(events)).await)?;
    let closed = [store.close().await, store.close().await];
    drop(store);
    subject.crash().await;
    same("two closings", closed, [Ok(()), Ok(())])
}
