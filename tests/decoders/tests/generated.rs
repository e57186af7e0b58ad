//! Every decoder by any bytes, and those that read the contract by any of its messages; what breaks one is made small.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use flare_core::{
    codec::{Codec, decode_client},
    json::message_to_json,
};
use flare_decoders::{DECODERS, contract_json, decoder, generated::message};
use proptest::{collection::vec, prelude::*};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// What chooses a message.
fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn judge(name: &str, bytes: &[u8]) {
    decoder(name).unwrap().run(bytes);
}

/// The message as this decoder reads it; and its JSON by another one, if it has any.
fn judge_message(kind: &str, choices: &[u8], wire: &str, json: Option<&str>) {
    let bytes = message(kind, choices);
    judge(wire, &bytes);
    if let Some(json) = json
        && let Ok(shown) = message_to_json(kind, &bytes)
    {
        judge(json, &shown);
    }
}

#[test]
fn frames_of_many_kinds_are_made() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut kinds = BTreeSet::new();
    for _ in 0..2_000 {
        let choices: Vec<u8> = (0..300).map(|_| rng.random()).collect();
        let bytes = message("flare.client.v1.ClientFrame", &choices);
        if let Ok(frame) = decode_client(Codec::Proto, bytes.into(), usize::MAX) {
            let said = format!("{frame:?}");
            kinds.extend(said.split('(').next().map(str::to_owned));
        }
    }
    assert!(kinds.len() > 6, "{kinds:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_decoder_keeps_its_word_for_any_bytes(which in 0..DECODERS.len(), bytes in vec(any::<u8>(), 0..400)) {
        DECODERS[which].run(&bytes);
    }

    #[test]
    fn any_frame_of_a_client(choices in choices()) {
        judge_message("flare.client.v1.ClientFrame", &choices, "client_frames_proto", Some("client_frames_json"));
    }

    #[test]
    fn any_frame_of_a_server(choices in choices()) {
        judge_message("flare.client.v1.ServerFrame", &choices, "server_frames_proto", Some("server_frames_json"));
    }

    #[test]
    fn any_content(choices in choices()) {
        judge_message("flare.message.v1.Content", &choices, "contents", None);
    }

    #[test]
    fn any_event(choices in choices()) {
        judge_message("flare.message.v1.Event", &choices, "events", None);
    }

    #[test]
    fn any_command(choices in choices()) {
        judge_message("flare.message.v1.SubmitItem", &choices, "submit_items", None);
    }

    #[test]
    fn any_call(choices in choices()) {
        judge_message("flare.session.v1.GetConversationRequest", &choices, "call_contexts", None);
    }

    #[test]
    fn any_message_of_the_contract(first: u8, choices in choices()) {
        let kind = contract_json::message_of(first);
        let bytes = message(kind, &choices);
        judge("contract_wire", &[&[first], &bytes[..]].concat());
        if let Ok(shown) = message_to_json(kind, &bytes) {
            judge("contract_json", &[&[first], &shown[..]].concat());
        }
    }
}
