//! Asks every cell.

use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::{StreamExt, stream};

use crate::{
    anybody,
    caller::Caller,
    cell::{Cell, surfaces},
    closed,
    ground::Ground,
    stage::Stage,
    table::{Call, Row, rows},
    unanswered, unbound,
};

/// Rows that are asked at the same time.
const AT_ONCE: usize = 8;

/// What a row has shown.
struct Shown {
    cells: usize,
    wrong: Vec<String>,
}

/// Each cell gets its answer, and what is refused changes nothing.
pub(crate) fn every_cell() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(ask_all())
}

async fn ask_all() -> anyhow::Result<()> {
    let ground = Arc::new(Ground::prepare().await.context("a server with keys")?);
    let shown: Vec<anyhow::Result<Shown>> = stream::iter(rows())
        .map(|row| {
            let ground = Arc::clone(&ground);
            async move {
                let name = format!("{} {}", row.call.name(), row.about);
                tokio::spawn(async move { ask_row(&ground, &row).await })
                    .await?
                    .context(name)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut cells, mut wrong) = (0, Vec::new());
    for it in shown {
        let it = it?;
        cells += it.cells;
        wrong.extend(it.wrong);
    }
    wrong.extend(closed::all(&ground).await?);
    wrong.extend(unbound::all(&ground).await?);
    wrong.extend(anybody::all(&ground).await?);
    let mut ground = Arc::into_inner(ground).context("somebody still asks")?;
    ensure!(ground.server.runs(), "the server has ended");
    wrong.sort();
    ensure!(
        wrong.is_empty(),
        "{} of {cells} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{cells} cells");
    Ok(())
}

/// What is refused, or changes nothing, is asked on one stage, which must be the same afterwards; what is done on others.
async fn ask_row(ground: &Ground, row: &Row) -> anyhow::Result<Shown> {
    let (quiet, busy) = (
        Stage::prepare(ground, row).await?,
        Stage::prepare(ground, row).await?,
    );
    let cells = Caller::all().flat_map(|caller| {
        let surfaces = surfaces(row, caller);
        surfaces.into_iter().map(move |surface| Cell {
            row,
            caller,
            surface,
        })
    });
    let (done, refused): (Vec<Cell<'_>>, Vec<Cell<'_>>) = cells.partition(Cell::changes);
    let mut shown = Shown {
        cells: done.len() + refused.len(),
        wrong: Vec::new(),
    };
    let before = quiet.picture(ground).await?;
    for cell in &refused {
        if let Err(found) = cell.check(ground, &quiet).await {
            shown.wrong.push(format!("{cell}: {found}"));
        }
    }
    let after = quiet.picture(ground).await?;
    let changed = before.differences(&after).into_iter();
    let name = format!("{} {}", row.call.name(), row.about);
    shown
        .wrong
        .extend(changed.map(|it| format!("{name}: what was refused changed {it}")));
    for cell in &done {
        let own;
        let stage = match cell.spends() {
            true => {
                own = Stage::prepare(ground, row).await?;
                &own
            }
            false => &busy,
        };
        if let Err(found) = cell.check(ground, stage).await {
            shown.wrong.push(format!("{cell}: {found}"));
        }
    }
    if let Call::Frame(frame) = row.call {
        let effects =
            unanswered::effects(ground, (frame, row.about), &row.expects, &quiet, &busy).await?;
        shown.wrong.extend(effects);
    }
    Ok(shown)
}
