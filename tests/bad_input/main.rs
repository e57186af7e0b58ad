//! What bad input gets: each wrong input on each surface has its exact code and names its field, and nothing is changed by it.

#![expect(clippy::expect_used, reason = "a broken test ends here")]

mod ask;
mod cell;
mod ground;
mod link;
mod processes;
#[path = "../surfaces/surfaces.rs"]
mod surfaces;
mod table;

use crate::ground::Ground;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_input_gets_its_code_and_changes_nothing() {
    let ground = Ground::prepare()
        .await
        .expect("a server with conversations");
    let mut before = ground.state().await.expect("heads, rows and inboxes");
    let mut wrong = Vec::new();
    let mut cells = 0;
    for row in table::rows(&ground) {
        for cell in &row.cells {
            cells += 1;
            if let Err(found) = cell.check(&ground).await {
                wrong.push(format!("{} | {}: {found}", row.input, cell.surface));
            }
        }
        let after = ground.state().await.expect("heads, rows and inboxes");
        wrong.extend(
            before
                .differences(&after)
                .into_iter()
                .map(|it| format!("{}: it changed {it}", row.input)),
        );
        before = after;
    }
    // What the store has not shown by then shows here: whoever speaks next gets the next seq.
    let gaps = ground
        .next_seqs(&before)
        .await
        .expect("messages that are good");
    wrong.extend(gaps);
    assert!(
        wrong.is_empty(),
        "{} of {cells} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
