//! doc/errors.md.

use anyhow::{Context, ensure};
use flare_proto::common::ErrorCode;
use flare_server_core::error::{grpc_code, http_status, is_retryable};

use crate::markdown;

const DOCUMENT: &str = "doc/errors.md";
/// No code is above; the contract's test for compatibility sees to the numbers.
const NUMBERS: std::ops::Range<i32> = 0..1_000;

/// Code, number, gRPC, HTTP, retry; then what it means.
pub(crate) fn every_code_has_one_line_that_is_true() -> anyhow::Result<()> {
    let mut rows = markdown::rows(DOCUMENT)?;
    rows.retain(|row| {
        row.first()
            .is_some_and(|it| it.bytes().all(|it| it.is_ascii_uppercase() || it == b'_'))
    });
    let codes: Vec<_> = NUMBERS
        .filter_map(|number| ErrorCode::try_from(number).ok())
        .collect();
    ensure!(
        rows.len() == codes.len(),
        "{} rows, {} codes",
        rows.len(),
        codes.len()
    );
    for code in codes {
        let name = code.as_str_name();
        let row: Vec<_> = rows
            .iter()
            .filter(|row| row.first().is_some_and(|it| it == name))
            .collect();
        ensure!(row.len() == 1, "{name} has {} rows", row.len());
        let row = row.first().context("one")?;
        let retry = if is_retryable(code) { "yes" } else { "no" };
        let truth = [
            i32::from(code).to_string(),
            upper(&format!("{:?}", grpc_code(code))),
            http_status(code).as_u16().to_string(),
        ];
        for (cell, truth) in row.iter().skip(1).zip(&truth) {
            ensure!(
                cell == truth,
                "{name}: {cell:?} stands there, {truth:?} is true"
            );
        }
        let cell = row.get(4).map(String::as_str).unwrap_or_default();
        ensure!(
            cell.starts_with(retry),
            "{name}: retry {cell:?} stands there, {retry:?} is true"
        );
        ensure!(
            row.get(5).is_some_and(|it| !it.is_empty()),
            "{name}: what it means is missing"
        );
    }
    Ok(())
}

/// `InvalidArgument` as gRPC writes it: `INVALID_ARGUMENT`.
fn upper(name: &str) -> String {
    let mut upper = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(letter.to_ascii_uppercase());
    }
    upper
}
