//! Runs of events.

use flare_proto::{common::ErrorCode, storage::ReadRangesRequest};

use crate::ground::{Ground, MAX_BYTES, code, range, seqs, system, system_of, user};

#[tokio::test]
async fn a_run_is_contiguous_from_any_seq_up_to_the_head() {
    let mut ground = Ground::new();
    ground.talk.say("team", 20).await;
    ground.talk.rename("team").await;
    ground.talk.say("team", 4).await;
    ground.show("alice", "team", 0, 0);
    let all = ground.talk.events("team");
    for after in 0..=27_usize {
        for limit in [1, 3, 24, 25, 200] {
            let answer = ground
                .sync(user("alice"), "team", after as u64, limit)
                .await
                .unwrap();
            let ought: Vec<_> = all
                .iter()
                .skip(after)
                .take(limit as usize)
                .cloned()
                .collect();
            let more = after + ought.len() < 25;
            assert_eq!(answer.events, ought, "{limit} after {after}");
            assert_eq!(
                (answer.head_seq, answer.floor_seq, answer.has_more),
                (25, 1, more),
                "{limit} after {after}"
            );
        }
    }
}

#[tokio::test]
async fn who_reads_since_he_joined_is_told_the_floor() {
    let mut ground = Ground::new();
    ground.talk.say("team", 10).await;
    ground.show("carol", "team", 7, 0);
    for (after, ought) in [
        (0, vec![7, 8]),
        (5, vec![7, 8]),
        (6, vec![7, 8]),
        (7, vec![8, 9]),
        (9, vec![10]),
        (10, vec![]),
    ] {
        let answer = ground.sync(user("carol"), "team", after, 2).await.unwrap();
        assert_eq!(seqs(&answer.events), ought, "after {after}");
        assert_eq!((answer.head_seq, answer.floor_seq), (10, 7));
    }
}

#[tokio::test]
async fn who_was_added_again_is_not_told_the_head_of_his_former_time() {
    let mut ground = Ground::new();
    ground.talk.say("team", 4).await;
    ground.talk.add("team", "carol").await;
    ground.talk.say("team", 2).await;
    // flare-session has not heard yet that the fifth event has its place.
    ground.show_as_of("carol", "team", &[(1, 3, 3), (1, 3, 3), (1, 0, 5)]);
    let answer = ground.sync(user("carol"), "team", 3, 10).await.unwrap();
    assert_eq!((answer.head_seq, answer.events.len()), (7, 4));
}

#[tokio::test]
async fn what_one_may_read_is_no_guess_while_it_is_older_than_the_last_change_of_members() {
    let mut ground = Ground::new();
    ground.talk.add("team", "carol").await;
    ground.show_as_of("carol", "team", &[(1, 0, 0)]);
    let refused = ground.sync(user("carol"), "team", 0, 10).await;
    assert_eq!(code(refused), ErrorCode::Unavailable);
    // The backend reads all.
    assert!(ground.sync(system(), "team", 0, 10).await.is_ok());
}

#[tokio::test]
async fn who_left_sees_nothing_new() {
    let mut ground = Ground::new();
    ground.talk.say("team", 6).await;
    ground.show("dave", "team", 3, 6);
    ground.talk.say("team", 4).await;
    for (after, ought, more) in [
        (0, vec![3, 4], true),
        (4, vec![5, 6], false),
        (6, vec![], false),
        (8, vec![], false),
    ] {
        let answer = ground.sync(user("dave"), "team", after, 2).await.unwrap();
        assert_eq!(seqs(&answer.events), ought, "after {after}");
        assert_eq!(
            (answer.head_seq, answer.floor_seq, answer.has_more),
            (6, 3, more)
        );
    }
}

#[tokio::test]
async fn to_strangers_a_conversation_is_not_there() {
    let mut ground = Ground::new();
    ground.talk.say("team", 2).await;
    ground.show("alice", "team", 0, 0);
    let direct = ground.talk.whisper("alice", "bob").await;
    for (who, conversation) in [
        (user("eve"), "team"),
        (user("eve"), direct.as_str()),
        (user("alice"), "nowhere"),
        (system_of("other"), "team"),
        (system_of("other"), direct.as_str()),
    ] {
        let refused = ground.sync(who, conversation, 0, 10).await;
        assert_eq!(code(refused), ErrorCode::ConversationNotFound);
    }
    for who in [user("alice"), user("bob"), system()] {
        let answer = ground.sync(who, &direct, 0, 10).await.unwrap();
        assert_eq!(answer.events, ground.talk.events(&direct));
    }
}

#[tokio::test]
async fn one_refused_range_does_not_spoil_the_others() {
    let mut ground = Ground::new();
    ground.talk.say("team", 2).await;
    ground.talk.say("board", 2).await;
    ground.show("alice", "team", 0, 0);
    ground.show("bob", "board", 0, 0);
    let request = ReadRangesRequest {
        context: Some(user("alice")),
        ranges: vec![
            range("board", 0, 10),
            range("team", 1, 10),
            range("nowhere", 0, 10),
        ],
    };
    let answer = ground
        .client
        .read_ranges(request)
        .await
        .unwrap()
        .into_inner();
    let told: Vec<_> = answer
        .ranges
        .iter()
        .map(|it| {
            let error = it.error.as_ref().map(|error| error.code());
            (it.conversation_id.as_str(), seqs(&it.events), error)
        })
        .collect();
    let not_found = Some(ErrorCode::ConversationNotFound);
    assert_eq!(
        told,
        [
            ("board", vec![], not_found),
            ("team", vec![2], None),
            ("nowhere", vec![], not_found),
        ]
    );
}

#[tokio::test]
async fn an_answer_is_cut_where_it_gets_too_large_and_says_so() {
    let mut ground = Ground::new();
    let text = "x".repeat(MAX_BYTES / 3);
    for conversation in ["a", "b", "c"] {
        for _ in 0..4 {
            ground.talk.text(conversation, &text).await;
        }
        ground.show("alice", conversation, 0, 0);
    }
    let request = ReadRangesRequest {
        context: Some(user("alice")),
        ranges: ["a", "b", "c"].map(|it| range(it, 0, 200)).to_vec(),
    };
    let answer = ground.client.clone().read_ranges(request).await.unwrap();
    let mut bytes = 0;
    for range in answer.into_inner().ranges {
        bytes += range.events.iter().map(|it| it.len()).sum::<usize>();
        assert!(range.has_more, "{}", range.conversation_id);
        let count = range.events.len() as u64;
        assert_eq!(seqs(&range.events), (1..=count).collect::<Vec<_>>());
    }
    // Only the first event of the whole answer fits where there is too little room for it.
    assert!(bytes <= MAX_BYTES, "{bytes}");
    let huge = "x".repeat(MAX_BYTES * 2);
    ground.talk.text("a", &huge).await;
    let answer = ground.sync(user("alice"), "a", 4, 10).await.unwrap();
    assert_eq!(seqs(&answer.events), [5], "one event always fits");
}

#[tokio::test]
async fn what_no_range_is_is_refused_by_name() {
    let ground = Ground::new();
    let ask = async |ranges| {
        let request = ReadRangesRequest {
            context: Some(user("alice")),
            ranges,
        };
        let refused = ground.client.clone().read_ranges(request).await;
        flare_server_core::error::Refusal::from(refused.unwrap_err())
    };
    for (ranges, field) in [
        (vec![], "ranges"),
        (vec![range("team", 0, 1); 4], "ranges"),
        (vec![range("team", 0, 0)], "ranges.limit"),
        (vec![range("team", 0, 201)], "ranges.limit"),
        (vec![range("a/b", 0, 1)], "ranges.conversation_id"),
    ] {
        let refusal = ask(ranges).await;
        assert_eq!(
            (refusal.code, refusal.field.as_ref()),
            (ErrorCode::InvalidArgument, field)
        );
    }
}
