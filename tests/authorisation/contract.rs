//! What the contract has, against what the table asks.

use std::collections::BTreeSet;

use anyhow::ensure;
use flare_core_gateway::handler::http::routes::ROUTES;
use flare_proto::{descriptor_pool, is_client_callable};

use crate::{
    caller::Caller,
    cell::{Surface, surfaces},
    closed, request,
    surfaces::api::SERVICE,
    table::{Call, rows},
};

/// Everything that a client may ask for: the methods of core-gateway, the frames of the client link with their kinds, and the methods that a
/// `Call` frame may name.
fn of_contract() -> BTreeSet<String> {
    let pool = descriptor_pool();
    let mut calls: BTreeSet<String> = closed::closed(|_| false)
        .into_iter()
        .filter(|it| it.split('/').next() == Some(SERVICE) || is_client_callable(it))
        .collect();
    let frames = pool
        .get_message_by_name("flare.client.v1.ClientFrame")
        .expect("in the contract");
    for field in frames.fields() {
        let kind = field.kind();
        let inner = kind.as_message().expect("frames are messages");
        let kinds: Vec<String> = inner
            .oneofs()
            .filter(|it| !it.is_synthetic())
            .flat_map(|it| it.fields().collect::<Vec<_>>())
            .map(|it| format!("frame {}.{}", field.json_name(), it.json_name()))
            .collect();
        match kinds.is_empty() {
            true => drop(calls.insert(format!("frame {}", field.json_name()))),
            false => calls.extend(kinds),
        }
    }
    calls
}

/// What the rows ask for, by the same names.
fn of_table() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for row in rows() {
        let request = row.sample(Caller::Owner);
        let frame = match row.call {
            Call::Method(method) => {
                calls.insert(format!("{SERVICE}/{}", method.name()));
                request::frame(method, &request)
            }
            // Every cell of the link begins with it.
            Call::Frame("connect") => {
                calls.insert("frame connect".to_owned());
                None
            }
            Call::Frame(_) => Some(request),
        };
        let Some(frame) = frame else { continue };
        for (name, fields) in frame.as_object().into_iter().flatten() {
            let kinds = ["recall", "typing", "viewing"];
            let kind = kinds.into_iter().find(|it| fields.get(it).is_some());
            calls.insert(match kind {
                Some(kind) => format!("frame {name}.{kind}"),
                None => format!("frame {name}"),
            });
            if let Some(method) = fields["method"].as_str() {
                calls.insert(method.to_owned());
            }
        }
    }
    calls
}

/// A call without a row, or a row without a call, is a failure.
pub(crate) fn is_covered() -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    for row in rows() {
        let is_first = names.insert((row.call.name(), row.about));
        ensure!(is_first, "{} {:?} stands twice", row.call.name(), row.about);
    }
    let (contract, table) = (of_contract(), of_table());
    let without_row: Vec<_> = contract.difference(&table).collect();
    let without_call: Vec<_> = table.difference(&contract).collect();
    ensure!(
        without_row.is_empty() && without_call.is_empty(),
        "without a row in tests/authorisation/table: {without_row:?}; rows that are of no call: {without_call:?}"
    );
    Ok(())
}

/// Each route of core-gateway is a surface of some row.
pub(crate) fn routes_are_covered() -> anyhow::Result<()> {
    let asked: Vec<_> = rows()
        .iter()
        .flat_map(|row| surfaces(row, Caller::Owner))
        .filter_map(|it| match it {
            Surface::Http(route) => Some((route.verb, route.path)),
            _ => None,
        })
        .collect();
    let left: Vec<_> = ROUTES
        .iter()
        .filter(|it| !asked.contains(&(it.verb, it.path)))
        .map(|it| format!("{} {}", it.verb.name(), it.path))
        .collect();
    ensure!(left.is_empty(), "no row asks over {left:?}");
    Ok(())
}
