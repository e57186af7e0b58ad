//! What every adapter of `PublishedCursors` owes.

use std::sync::Arc;

use flare_storage_model::{Cursor, Epoch};
use flare_storage_writer::application::ports::PublishedCursors;

fn cursor(next_offset: u64) -> Cursor {
    Cursor {
        next_offset,
        epoch: Epoch {
            number: next_offset / 3,
            nonce: u64::MAX - next_offset,
        },
        n: next_offset / 2,
        time_ms: 1_700_000_000_000 + next_offset.cast_signed(),
    }
}

/// `open` opens the same cursors, as another process would.
pub(crate) async fn does_what_the_port_says(open: impl AsyncFn() -> Arc<dyn PublishedCursors>) {
    let (one, other) = (open().await, open().await);
    assert_eq!(one.load(7).await.unwrap(), Cursor::default(), "never saved");
    one.save(&[]).await.unwrap();

    let several: Vec<_> = [63, 7, 0]
        .map(|it| (it, cursor(100 + u64::from(it))))
        .into();
    one.save(&several).await.unwrap();
    for (partition, saved) in &several {
        assert_eq!(
            other.load(*partition).await.unwrap(),
            *saved,
            "seen by others"
        );
    }
    assert_eq!(one.load(8).await.unwrap(), Cursor::default(), "another one");

    other.save(&[(7, cursor(200))]).await.unwrap();
    one.save(&[(7, cursor(150)), (8, cursor(1))]).await.unwrap();
    let stands = one.load(7).await.unwrap();
    assert_eq!(stands, cursor(200), "what comes late moves nothing back");
    assert_eq!(one.load(8).await.unwrap(), cursor(1), "beside it");
    one.save(&[(7, cursor(200))]).await.unwrap();
    assert_eq!(open().await.load(7).await.unwrap(), cursor(200), "repeated");

    // Whoever is stopped says late what was true: the highest of all stands.
    let savers = (0..4_u64).map(|saver| {
        let (one, other) = (one.clone(), other.clone());
        tokio::spawn(async move {
            let mine = if saver % 2 == 0 { one } else { other };
            for step in 0..50 {
                let at = cursor(1_000 + step * 4 + saver);
                mine.save(&[(20, at), (19, at)]).await.unwrap();
            }
        })
    });
    for saver in savers.collect::<Vec<_>>() {
        saver.await.unwrap();
    }
    for partition in [19, 20] {
        assert_eq!(one.load(partition).await.unwrap(), cursor(1_199));
    }
}
