//! Pages of messages.

use flare_proto::{
    common::ErrorCode,
    storage::{HistoryResponse, history_request::Position},
};

use crate::{
    ground::{Ground, MAX_BYTES, code, header, seqs_of, system_of, user},
    talk::START_MS,
};

/// Thirty messages with an event that is none after every fifth: seq 6, 12, 18, … are no messages.
async fn thirty() -> (Ground, Vec<u64>) {
    let mut ground = Ground::new();
    for _ in 0..6 {
        ground.talk.say("team", 5).await;
        ground.talk.rename("team").await;
    }
    ground.show("alice", "team", 0, 0);
    (ground, (1..=36).filter(|seq| seq % 6 != 0).collect())
}

async fn page(ground: &Ground, position: Option<Position>, size: u32) -> HistoryResponse {
    ground
        .page(user("alice"), "team", position, size, "")
        .await
        .unwrap()
}

#[tokio::test]
async fn pages_lie_before_after_and_around_any_seq() {
    let (ground, all) = thirty().await;
    for seq in 0..=38 {
        let below: Vec<_> = all.iter().copied().filter(|it| *it < seq).collect();
        let above: Vec<_> = all.iter().copied().filter(|it| *it > seq).collect();
        let from: Vec<_> = all.iter().copied().filter(|it| *it >= seq).collect();
        let last = |count: usize| below[below.len().saturating_sub(count)..].to_vec();
        let before = page(&ground, Some(Position::BeforeSeq(seq)), 4).await;
        assert_eq!(seqs_of(&before), last(4), "before {seq}");
        let after = page(&ground, Some(Position::AfterSeq(seq)), 4).await;
        let ought: Vec<_> = above.into_iter().take(4).collect();
        assert_eq!(seqs_of(&after), ought, "after {seq}");
        let around = page(&ground, Some(Position::AroundSeq(seq)), 6).await;
        let newer = from.len().min(6 - below.len().min(3));
        let mut ought = last(6 - newer);
        ought.extend(&from[..newer]);
        assert_eq!(seqs_of(&around), ought, "around {seq}");
        for page in [before, after, around] {
            assert_eq!((page.head_seq, page.floor_seq), (36, 1));
        }
    }
    assert_eq!(seqs_of(&page(&ground, None, 2).await), [34, 35]);
}

#[tokio::test]
async fn a_page_by_time_begins_at_its_first_message() {
    let (ground, _) = thirty().await;
    // The event of seq n is n seconds after the start.
    for (time_ms, ought) in [
        (0, vec![1, 2]),
        (START_MS + 1_000, vec![1, 2]),
        (START_MS + 1_001, vec![2, 3]),
        (START_MS + 6_000, vec![7, 8]),
        (START_MS + 35_000, vec![35]),
        (START_MS + 35_001, vec![]),
    ] {
        let page = page(&ground, Some(Position::FromTimeMs(time_ms)), 2).await;
        assert_eq!(seqs_of(&page), ought, "from {time_ms} ms");
    }
}

#[tokio::test]
async fn tokens_lead_to_each_end_past_every_message_once() {
    let (ground, all) = thirty().await;
    for size in [1, 4, 7, 30, 31] {
        let mut pages = Vec::new();
        let mut next = page(&ground, None, size).await;
        loop {
            pages.push(seqs_of(&next));
            if next.next_page_token.is_empty() {
                break;
            }
            let token = next.next_page_token;
            next = ground
                .page(user("alice"), "team", None, size, &token)
                .await
                .unwrap();
        }
        pages.reverse();
        assert_eq!(pages.concat(), all, "older, by {size}");

        let mut seen = Vec::new();
        let mut next = page(&ground, Some(Position::AfterSeq(0)), size).await;
        loop {
            seen.extend(seqs_of(&next));
            if next.next_page_token.is_empty() {
                break;
            }
            let token = next.next_page_token;
            next = ground
                .page(user("alice"), "team", None, size, &token)
                .await
                .unwrap();
        }
        assert_eq!(seen, all, "newer, by {size}");
    }
}

#[tokio::test]
async fn a_token_goes_on_in_its_own_conversation_and_direction_alone() {
    let (mut ground, _) = thirty().await;
    ground.talk.say("board", 10).await;
    ground.show("alice", "board", 0, 0);
    let token = page(&ground, None, 2).await.next_page_token;
    let position = Some(Position::AfterSeq(3));
    for (conversation, position, token) in [
        ("board", None, token.as_str()),
        ("team", position, token.as_str()),
        ("team", None, "something"),
    ] {
        let refusal = ground
            .page(user("alice"), conversation, position, 2, token)
            .await
            .expect_err("refused");
        assert_eq!(refusal.field, "page_token", "{conversation} {token}");
    }
    let other = ground.other.say("team", 5);
    other.await;
    let refused = ground
        .page(system_of("other"), "team", None, 2, &token)
        .await;
    assert_eq!(code(refused), ErrorCode::InvalidPageToken, "another tenant");
}

#[tokio::test]
async fn a_member_sees_his_part_by_every_way() {
    let (ground, _) = thirty().await;
    ground.show("carol", "team", 10, 20);
    let page = async |position| {
        let answer = ground.page(user("carol"), "team", position, 200, "").await;
        let answer = answer.unwrap();
        assert_eq!((answer.head_seq, answer.floor_seq), (20, 10));
        assert_eq!(answer.next_page_token, "", "nothing beyond it");
        seqs_of(&answer)
    };
    let all = [10, 11, 13, 14, 15, 16, 17, 19, 20];
    assert_eq!(page(None).await, all);
    assert_eq!(page(Some(Position::BeforeSeq(99))).await, all);
    assert_eq!(page(Some(Position::BeforeSeq(12))).await, [10, 11]);
    assert_eq!(page(Some(Position::BeforeSeq(10))).await, [0_u64; 0]);
    assert_eq!(page(Some(Position::AfterSeq(0))).await, all);
    assert_eq!(page(Some(Position::AfterSeq(17))).await, [19, 20]);
    assert_eq!(page(Some(Position::AfterSeq(20))).await, [0_u64; 0]);
    assert_eq!(page(Some(Position::AroundSeq(2))).await, all);
    assert_eq!(page(Some(Position::AroundSeq(30))).await, all);
    assert_eq!(page(Some(Position::FromTimeMs(0))).await, all);
    let late = Position::FromTimeMs(START_MS + 21_000);
    assert_eq!(page(Some(late)).await, [0_u64; 0]);
    for position in [None, Some(Position::AfterSeq(0))] {
        let refused = ground.page(user("eve"), "team", position, 2, "").await;
        assert_eq!(code(refused), ErrorCode::ConversationNotFound);
    }
}

#[tokio::test]
async fn a_page_that_gets_too_large_is_cut_and_goes_on() {
    let mut ground = Ground::new();
    let text = "x".repeat(MAX_BYTES / 3);
    for _ in 0..7 {
        ground.talk.text("team", &text).await;
    }
    ground.show("alice", "team", 0, 0);
    let newest = page(&ground, None, 200).await;
    assert_eq!(seqs_of(&newest), [6, 7]);
    let token = newest.next_page_token;
    let older = ground
        .page(user("alice"), "team", None, 200, &token)
        .await
        .unwrap();
    assert_eq!(seqs_of(&older), [4, 5]);
    let oldest = page(&ground, Some(Position::AfterSeq(0)), 200).await;
    assert_eq!(seqs_of(&oldest), [1, 2]);
    assert!(!oldest.next_page_token.is_empty());
    let bytes: usize = oldest.messages.iter().map(|it| it.event.len()).sum();
    assert!(bytes <= MAX_BYTES);
    assert_eq!(header(&oldest.messages[0].event).sender_id, "alice");
}

#[tokio::test]
async fn a_page_around_a_message_is_no_larger_than_any_other() {
    let mut ground = Ground::new();
    let text = "x".repeat(MAX_BYTES / 5);
    for _ in 0..9 {
        ground.talk.text("team", &text).await;
    }
    ground.show("alice", "team", 0, 0);
    let around = page(&ground, Some(Position::AroundSeq(5)), 200).await;
    assert_eq!(seqs_of(&around), [3, 4, 5, 6]);
    let bytes: usize = around.messages.iter().map(|it| it.event.len()).sum();
    assert!(bytes <= MAX_BYTES, "{bytes}");
    let token = around.next_page_token;
    let newer = ground
        .page(user("alice"), "team", None, 200, &token)
        .await
        .unwrap();
    assert_eq!(seqs_of(&newer), [7, 8, 9]);
    // What one side leaves, the other takes.
    let last = page(&ground, Some(Position::AroundSeq(9)), 200).await;
    assert_eq!(seqs_of(&last), [6, 7, 8, 9]);
    let beyond = page(&ground, Some(Position::AroundSeq(99)), 1).await;
    assert_eq!(seqs_of(&beyond), [9]);
}
