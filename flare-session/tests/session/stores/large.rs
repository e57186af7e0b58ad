//! What is promised of large conversations.

use std::sync::Arc;

use flare_session::{
    application::ports::LargeMemberships,
    domain::{
        caller::UserKey,
        change::Change,
        membership::{Belonging, FormerMember, RosterMember},
        role::{Class, Role},
    },
};

use super::{Stores, added, at, created, key, line, named};

fn large() -> Change {
    let Change::Created {
        title,
        members,
        history,
        ..
    } = created()
    else {
        unreachable!("it is how a group begins");
    };
    Change::Created {
        title,
        members,
        history,
        class: Class::Large,
    }
}

fn growing(user: &str) -> Change {
    Change::MembersAdded {
        members: vec![named(user, Role::Member)],
        becomes_large: true,
    }
}

fn users(names: &[&str]) -> Vec<UserKey> {
    names.iter().map(|it| UserKey::new("t", *it)).collect()
}

/// (user, joined, as of) of the one conversation, and who is incomplete.
async fn places(stores: &Stores, names: &[&str]) -> (Vec<(usize, u64, u64)>, Vec<usize>) {
    let found = stores.rosters.large_memberships(&users(names), 100).await;
    let LargeMemberships {
        memberships,
        incomplete,
    } = found.expect("answers");
    assert!(
        memberships
            .iter()
            .all(|it| it.conversation == key().conversation)
    );
    let places = memberships
        .into_iter()
        .map(|it| (it.user, it.joined_seq, it.as_of));
    (places.collect(), incomplete)
}

async fn belonging(stores: &Stores, user: &str) -> Option<Belonging> {
    let user = Arc::from(user);
    let found = stores
        .rosters
        .belonging(&key(), std::slice::from_ref(&user))
        .await;
    found.expect("answers").remove(&user)
}

pub(super) async fn members_of_a_large_one_are_told_by_name_and_in_pages(stores: Stores) {
    stores.change(1, large()).await;
    stores.change(2, added("ada")).await;
    stores
        .change(3, Change::MemberLeft { user: "mia".into() })
        .await;
    let roster = stores.rosters.roster(&key()).await.expect("answers");
    let roster = roster.expect("there");
    assert_eq!(
        (
            roster.summary.class,
            roster.as_of,
            roster.summary.member_count
        ),
        (Class::Large, 3, 2)
    );
    assert_eq!(roster.members, None);
    let active = |role, joined_seq| Some(Belonging::Active(RosterMember { role, joined_seq }));
    assert_eq!(belonging(&stores, "olga").await, active(Role::Owner, 1));
    assert_eq!(belonging(&stores, "ada").await, active(Role::Member, 2));
    let former = FormerMember {
        joined_seq: 1,
        left_seq: 3,
    };
    assert_eq!(
        belonging(&stores, "mia").await,
        Some(Belonging::Former(former))
    );
    assert_eq!(belonging(&stores, "eve").await, None);
    let page = async |after, limit| -> Vec<String> {
        let page = stores.rosters.members_after(&key(), after, limit).await;
        let page = page.expect("answers");
        page.into_iter().map(|(user, _)| user.to_string()).collect()
    };
    assert_eq!(page(None, 10).await, ["ada", "olga"]);
    assert_eq!(page(None, 1).await, ["ada"]);
    assert_eq!(page(Some("ada"), 10).await, ["olga"]);
    assert!(page(Some("olga"), 10).await.is_empty());
}

pub(super) async fn a_decision_is_about_the_owner_and_whom_it_names(stores: Stores) {
    stores.change(1, large()).await;
    stores.change(2, added("ada")).await;
    let about = ["mia".into(), "eve".into()];
    let group = stores.conversations.conversation(&key(), &about).await;
    let group = group.expect("answers").expect("there");
    assert_eq!((group.class, group.member_count), (Class::Large, 3));
    let known: Vec<_> = group
        .members
        .iter()
        .map(|(user, role)| (&**user, *role))
        .collect();
    assert_eq!(known, [("mia", Role::Member), ("olga", Role::Owner)]);
}

pub(super) async fn a_user_is_in_large_ones_while_he_is_a_member_and_they_are_not_disbanded(
    stores: Stores,
) {
    let all = ["olga", "mia", "ada"];
    stores.change(1, created()).await;
    assert_eq!(places(&stores, &all).await, (vec![], vec![]));
    stores.change(2, growing("ada")).await;
    let roster = stores.rosters.roster(&key()).await.expect("answers");
    assert_eq!(roster.map(|it| it.summary.class), Some(Class::Large));
    assert_eq!(
        places(&stores, &all).await,
        (vec![(0, 1, 2), (1, 1, 2), (2, 2, 2)], vec![])
    );
    stores
        .change(3, Change::MemberLeft { user: "mia".into() })
        .await;
    assert_eq!(
        places(&stores, &all).await,
        (vec![(0, 1, 3), (2, 2, 3)], vec![])
    );
    stores.change(4, added("mia")).await;
    assert_eq!(places(&stores, &["mia"]).await, (vec![(0, 4, 4)], vec![]));
    let found = stores
        .rosters
        .large_memberships(&[UserKey::new("other", "mia")], 100)
        .await;
    assert_eq!(found, Ok(LargeMemberships::default()));
    stores.change(5, Change::Disbanded).await;
    assert_eq!(places(&stores, &all).await, (vec![], vec![]));
}

/// Who asks after he has seen the event is told of it, or told to ask again.
pub(super) async fn who_joins_or_grows_with_his_group_is_incomplete_until_the_change_is_settled(
    stores: Stores,
) {
    let all = ["eve", "ada", "olga"];
    stores.change(1, created()).await;
    for (number, change, waiting) in [
        (2, growing("ada"), vec![1, 2]),
        (3, added("eve"), vec![0, 1, 2]),
    ] {
        let (line, command) = line(number, change);
        let committed = stores.conversations.commit(&line, &command, number - 1, 10);
        committed.await.expect("commits");
        assert_eq!(places(&stores, &all).await.1, waiting);
        let settled = stores.conversations.settle(&line, &at(number)).await;
        settled.expect("settles");
        stores.rosters.forget(&key());
        assert!(places(&stores, &all).await.1.is_empty());
    }
    assert_eq!(
        places(&stores, &all).await.0,
        [(0, 3, 3), (1, 2, 3), (2, 1, 3)]
    );
}

pub(super) async fn an_answer_without_room_says_whom_to_ask_for_again(stores: Stores) {
    stores.change(1, large()).await;
    let asked = users(&["eve", "olga", "mia", "ada"]);
    let found = stores.rosters.large_memberships(&asked, 1).await;
    let found = found.expect("answers");
    let told: Vec<_> = found.memberships.iter().map(|it| it.user).collect();
    assert_eq!((told, found.incomplete), (vec![1], vec![2, 3]));
}
