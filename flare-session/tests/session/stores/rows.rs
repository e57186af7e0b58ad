//! What is promised of rows.

use std::sync::Arc;

use flare_session::{
    application::ports::{
        DeliveredUpdate, DirectConversation, KEPT_DEVICES, PositionBatch, StreamEffects,
    },
    domain::{
        caller::UserKey,
        change::Change,
        inbox::SettingsPatch,
        role::{History, Role},
    },
};
use flare_storage_model::ConversationKey;

use super::{Stores, added, created, key};

pub(super) async fn rows_follow_the_changes(stores: Stores) {
    stores.change(1, created()).await;
    stores
        .change(
            2,
            Change::Renamed {
                title: "new".into(),
            },
        )
        .await;
    stores
        .change(
            3,
            Change::RoleChanged {
                user: "mia".into(),
                role: Role::Admin,
            },
        )
        .await;
    stores
        .change(
            4,
            Change::OwnershipTransferred {
                from: "olga".into(),
                to: "mia".into(),
            },
        )
        .await;
    let group = stores
        .conversations
        .conversation(&key(), &["olga".into()])
        .await
        .expect("answers")
        .expect("there");
    let roles: Vec<_> = group
        .members
        .iter()
        .map(|(user, role)| (&**user, *role))
        .collect();
    assert_eq!(roles, [("mia", Role::Owner), ("olga", Role::Admin)]);
    assert_eq!(
        (group.title.as_str(), group.history, group.disbanded),
        ("new", History::SinceJoin, false)
    );
    stores.change(5, Change::Disbanded).await;
    let roster = stores
        .rosters
        .roster(&key())
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(
        (roster.as_of, roster.disbanded, &*roster.summary.owner),
        (5, true, "mia")
    );
    assert_eq!(roster.summary.created_ms, 1_001);
}

pub(super) async fn who_left_keeps_what_was(stores: Stores) {
    stores.change(1, created()).await;
    stores
        .change(2, Change::MemberRemoved { user: "mia".into() })
        .await;
    stores
        .change(
            3,
            Change::Renamed {
                title: "secret".into(),
            },
        )
        .await;
    let row = stores.row("mia").await;
    let farewell = row.farewell.expect("he left");
    assert_eq!(
        (farewell.seq, farewell.time_ms, farewell.last_message),
        (2, 1_002, None)
    );
    assert_eq!(
        (row.summary.title.as_str(), row.summary.member_count),
        ("t", 1)
    );
    let mia = UserKey::new("t", "mia");
    stores
        .inboxes
        .keep_farewell(&mia, "g", &"last".into())
        .await
        .expect("keeps");
    stores
        .inboxes
        .keep_farewell(&mia, "g", &"other".into())
        .await
        .expect("answers");
    assert_eq!(
        stores
            .row("mia")
            .await
            .farewell
            .and_then(|it| it.last_message),
        Some("last".into())
    );
    stores.change(4, added("mia")).await;
    let row = stores.row("mia").await;
    assert_eq!(
        (row.farewell, row.summary.title.as_str(), row.read.seq),
        (None, "secret", 4)
    );
}

pub(super) async fn a_user_s_version_rises_with_each_change_of_his_rows(stores: Stores) {
    stores.change(1, created()).await;
    let mia = UserKey::new("t", "mia");
    let changed = async |since| {
        stores
            .inboxes
            .changed_since(&mia, since)
            .await
            .expect("answers")
            .len()
    };
    let mut before = stores.version("mia").await;
    let mut rises = async |what: &str, expected: bool| {
        let now = stores.version("mia").await;
        assert_eq!(now > before, expected, "{what}");
        assert_eq!(changed(before).await, usize::from(expected), "{what}");
        before = now;
    };
    let pin = SettingsPatch {
        pinned: Some(true),
        ..SettingsPatch::default()
    };
    stores
        .inboxes
        .update_settings(&mia, "g", &pin)
        .await
        .expect("answers");
    rises("settings", true).await;
    stores
        .inboxes
        .update_settings(&mia, "g", &pin)
        .await
        .expect("answers");
    rises("the same settings", false).await;
    stores.read("mia", 5).await;
    rises("a position", true).await;
    stores.read("mia", 4).await;
    rises("a position behind", false).await;
    stores.read("olga", 5).await;
    rises("another's position", false).await;
    let memberships = stores
        .inboxes
        .version(&mia)
        .await
        .expect("answers")
        .memberships;
    stores
        .change(2, Change::MemberLeft { user: "mia".into() })
        .await;
    rises("leaving", true).await;
    let left = stores
        .inboxes
        .version(&mia)
        .await
        .expect("answers")
        .memberships;
    assert!(left > memberships);
    assert!(
        stores
            .rosters
            .conversations_of(&mia, left)
            .await
            .expect("answers")
            .is_empty()
    );
    let passed = StreamEffects {
        changes: vec![(key(), 2)],
        ..StreamEffects::default()
    };
    stores.inboxes.record(&passed).await.expect("records");
    rises("the leaving's event", true).await;
    stores.change(3, added("mia")).await;
    rises("joining", true).await;
}

pub(super) async fn of_a_member_s_devices_the_foremost_are_kept(stores: Stores) {
    stores.change(1, created()).await;
    let tells = async |device: &str, seq| {
        let update = DeliveredUpdate {
            key: key(),
            user: "mia".into(),
            device: device.into(),
            seq,
        };
        let batch = PositionBatch {
            delivered: vec![update],
            ..PositionBatch::default()
        };
        stores.positions.put(&batch).await.expect("writes");
    };
    for device in 0..KEPT_DEVICES {
        tells(&format!("device-{device}"), 7).await;
    }
    // By its id it is the last, and it has received as much as the others.
    tells("tablet", 7).await;
    tells("slow", 3).await;
    let page = stores
        .positions
        .page(&key(), None, 1)
        .await
        .expect("answers");
    let devices: Vec<_> = page[0].delivered.iter().map(|it| &*it.0).collect();
    assert_eq!(devices.len(), KEPT_DEVICES);
    assert!(devices.contains(&"tablet"), "{devices:?}");
    assert!(!devices.contains(&"slow"), "{devices:?}");
}

pub(super) async fn positions_rise_whatever_order_they_come_in(stores: Stores) {
    stores.change(1, created()).await;
    let delivered = async |seq| {
        let update = DeliveredUpdate {
            key: key(),
            user: "mia".into(),
            device: "phone".into(),
            seq,
        };
        let batch = PositionBatch {
            delivered: vec![update],
            activity: vec![(key(), i64::try_from(seq).expect("small") * 1_000)],
            ..PositionBatch::default()
        };
        stores.positions.put(&batch).await.expect("writes");
    };
    for seq in [3, 7, 5] {
        stores.read("mia", seq).await;
        delivered(seq).await;
    }
    let page = stores
        .positions
        .page(&key(), None, 1)
        .await
        .expect("answers");
    assert_eq!(
        (page.len(), &*page[0].user, page[0].read.seq),
        (1, "mia", 7)
    );
    assert_eq!(page[0].delivered, [(Arc::from("phone"), 7)]);
    let page = stores
        .positions
        .page(&key(), Some("mia"), 10)
        .await
        .expect("answers");
    assert_eq!((page.len(), &*page[0].user), (1, "olga"));
    let activity = stores
        .inboxes
        .activity(&UserKey::new("t", "mia"))
        .await
        .expect("answers");
    assert_eq!(activity, [(Arc::from("g"), 7_000)]);
    // One who has no row gets none.
    stores.read("eve", 3).await;
    assert_eq!(stores.version("eve").await, 0);
}

pub(super) async fn the_stream_may_repeat(stores: Stores) {
    stores.change(1, created()).await;
    let direct = DirectConversation {
        key: ConversationKey::new("t", "d_x"),
        participants: ["mia".into(), "olga".into()],
        time_ms: 5,
    };
    let effects = StreamEffects {
        directs: vec![direct.clone()],
        mentions: vec![
            (key(), 2, vec!["mia".into(), "eve".into()]),
            (key(), 3, vec!["mia".into()]),
        ],
        recalls: vec![(key(), 2, 4)],
        changes: Vec::new(),
    };
    assert_eq!(stores.inboxes.record(&effects).await, Ok(vec![direct]));
    let version = stores.version("mia").await;
    assert_eq!(stores.inboxes.record(&effects).await, Ok(Vec::new()));
    assert_eq!(stores.version("mia").await, version);
    assert_eq!(stores.row("mia").await.mentions, [3]);
    assert_eq!(
        stores.inboxes.recalled_between(&key(), 1, 2, 9).await,
        Ok(1)
    );
    assert_eq!(
        stores.inboxes.recalled_between(&key(), 2, 9, 9).await,
        Ok(0)
    );
    assert_eq!(
        stores.inboxes.recalled_between(&key(), 1, 2, 3).await,
        Ok(0)
    );
    stores.read("mia", 3).await;
    stores.inboxes.record(&effects).await.expect("records");
    assert!(stores.row("mia").await.mentions.is_empty());
    let roster = stores
        .rosters
        .roster(&ConversationKey::new("t", "d_x"))
        .await
        .expect("answers")
        .expect("there");
    let members = roster.members.as_ref().map(|it| it.len());
    assert_eq!((members, roster.as_of), (Some(2), 0));
}
