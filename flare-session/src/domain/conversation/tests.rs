use super::*;

const LIMITS: Limits = Limits {
    max_group_members: 6,
    max_large_members: 6,
    max_conversations_per_user: 10,
    max_title_chars: 10,
};

fn group() -> Conversation {
    let members = [
        ("olga", Role::Owner),
        ("ada", Role::Admin),
        ("abe", Role::Admin),
        ("mia", Role::Member),
        ("max", Role::Member),
    ];
    Conversation {
        id: "g".into(),
        class: Class::Group,
        title: "old".into(),
        history: History::All,
        disbanded: false,
        as_of: 1,
        member_count: 5,
        members: members.map(|(user, role)| (user.into(), role)).into(),
    }
}

fn user(id: &str) -> Actor {
    Actor::User {
        id: id.into(),
        device: "".into(),
    }
}

fn decide(actor: &Actor, command: &Command) -> Result<Option<Change>, Rule> {
    group().decide(actor, command, &LIMITS)
}

/// A command that stands for each row of the matrix, aimed so that nothing but the role decides.
fn command_for(action: Action, actor: &str) -> Command {
    let pick = |one: &str, other: &str| Arc::from(if actor == one { other } else { one });
    match action {
        Action::Rename => Command::Rename {
            title: "new".into(),
        },
        Action::AddMembers => Command::AddMembers {
            users: vec!["new".into()],
        },
        Action::RemoveMember => Command::RemoveMember {
            user: pick("mia", "max"),
        },
        Action::RemoveAdmin => Command::RemoveMember {
            user: pick("ada", "abe"),
        },
        Action::RemoveOwner => Command::RemoveMember {
            user: "olga".into(),
        },
        Action::Leave => Command::Leave,
        Action::SetRole => Command::SetRole {
            user: pick("mia", "max"),
            role: Role::Admin,
        },
        Action::TransferOwnership => Command::TransferOwnership {
            to: pick("mia", "max"),
        },
        Action::Disband => Command::Disband,
    }
}

macro_rules! cells {
    ($($name:ident: $action:ident $who:literal => [$expected:pat];)*) => {$(
        #[test]
        fn $name() {
            let outcome = decide(&user($who), &command_for(Action::$action, $who));
            assert!(matches!(outcome, $expected), "{outcome:?}");
        }
    )*};
}

use Change as C;

cells! {
    an_owner_renames: Rename "olga" => [Ok(Some(C::Renamed { .. }))];
    an_admin_renames: Rename "ada" => [Ok(Some(C::Renamed { .. }))];
    a_member_does_not_rename: Rename "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_adds: AddMembers "olga" => [Ok(Some(C::MembersAdded { .. }))];
    an_admin_adds: AddMembers "ada" => [Ok(Some(C::MembersAdded { .. }))];
    a_member_does_not_add: AddMembers "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_removes_a_member: RemoveMember "olga" => [Ok(Some(C::MemberRemoved { .. }))];
    an_admin_removes_a_member: RemoveMember "ada" => [Ok(Some(C::MemberRemoved { .. }))];
    a_member_does_not_remove_a_member: RemoveMember "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_removes_an_admin: RemoveAdmin "olga" => [Ok(Some(C::MemberRemoved { .. }))];
    an_admin_does_not_remove_an_admin: RemoveAdmin "ada" => [Err(Rule::NotPermitted { .. })];
    a_member_does_not_remove_an_admin: RemoveAdmin "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_does_not_remove_himself: RemoveOwner "olga" => [Err(Rule::RemovesHimself { .. })];
    an_admin_does_not_remove_the_owner: RemoveOwner "ada" => [Err(Rule::NotPermitted { .. })];
    a_member_does_not_remove_the_owner: RemoveOwner "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_among_others_does_not_leave: Leave "olga" => [Err(Rule::OwnerMustTransfer { .. })];
    an_admin_leaves: Leave "ada" => [Ok(Some(C::MemberLeft { .. }))];
    a_member_leaves: Leave "mia" => [Ok(Some(C::MemberLeft { .. }))];
    an_owner_sets_roles: SetRole "olga" => [Ok(Some(C::RoleChanged { .. }))];
    an_admin_does_not_set_roles: SetRole "ada" => [Err(Rule::NotPermitted { .. })];
    a_member_does_not_set_roles: SetRole "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_transfers: TransferOwnership "olga" => [Ok(Some(C::OwnershipTransferred { .. }))];
    an_admin_does_not_transfer: TransferOwnership "ada" => [Err(Rule::NotPermitted { .. })];
    a_member_does_not_transfer: TransferOwnership "mia" => [Err(Rule::NotPermitted { .. })];
    an_owner_disbands: Disband "olga" => [Ok(Some(C::Disbanded))];
    an_admin_does_not_disband: Disband "ada" => [Err(Rule::NotPermitted { .. })];
    a_member_does_not_disband: Disband "mia" => [Err(Rule::NotPermitted { .. })];
}

#[test]
fn the_matrix_and_the_decisions_agree_in_every_cell() {
    for action in Action::all() {
        for (who, role) in [
            ("olga", Role::Owner),
            ("ada", Role::Admin),
            ("mia", Role::Member),
        ] {
            let refused = matches!(
                decide(&user(who), &command_for(action, who)),
                Err(Rule::NotPermitted { .. })
            );
            // The owner's own removal is refused by another rule.
            let expected =
                !action.is_permitted(role) && (action, role) != (Action::RemoveOwner, Role::Owner);
            assert_eq!(refused, expected, "{action:?} by {role:?}");
        }
    }
}

#[test]
fn the_system_does_everything_but_leave_a_group_without_its_owner() {
    for action in Action::all() {
        let outcome = decide(&Actor::System, &command_for(action, ""));
        match action {
            Action::RemoveOwner => assert!(matches!(outcome, Err(Rule::OwnerMustTransfer { .. }))),
            Action::Leave => assert_eq!(outcome, Err(Rule::NoUser)),
            _ => assert!(matches!(outcome, Ok(Some(_))), "{action:?}: {outcome:?}"),
        }
    }
}

#[test]
fn nobody_outside_decides_anything() {
    for action in Action::all() {
        let outcome = decide(&user("eve"), &command_for(action, "eve"));
        assert!(
            matches!(outcome, Err(Rule::NotAMember { .. })),
            "{action:?}"
        );
    }
}

#[test]
fn the_last_owner_who_leaves_ends_the_group() {
    let mut alone = group();
    alone.member_count = 1;
    assert_eq!(
        alone.decide(&user("olga"), &Command::Leave, &LIMITS),
        Ok(Some(Change::Disbanded))
    );
}

#[test]
fn what_is_so_already_changes_nothing() {
    let owner = user("olga");
    for command in [
        Command::Rename {
            title: "old".into(),
        },
        Command::AddMembers {
            users: vec!["mia".into(), "olga".into()],
        },
        Command::RemoveMember { user: "eve".into() },
        Command::SetRole {
            user: "mia".into(),
            role: Role::Member,
        },
        Command::TransferOwnership { to: "olga".into() },
    ] {
        assert_eq!(decide(&owner, &command), Ok(None), "{command:?}");
    }
}

#[test]
fn nothing_changes_in_a_disbanded_group() {
    let mut ended = group();
    ended.disbanded = true;
    for action in Action::all().filter(|it| *it != Action::Disband) {
        let outcome = ended.decide(&user("olga"), &command_for(action, "olga"), &LIMITS);
        assert!(matches!(outcome, Err(Rule::Disbanded { .. })), "{action:?}");
    }
    assert_eq!(
        ended.decide(&user("olga"), &Command::Disband, &LIMITS),
        Ok(None)
    );
    assert!(
        ended
            .decide(&user("mia"), &Command::Disband, &LIMITS)
            .is_err()
    );
}

#[test]
fn only_who_is_new_joins_and_each_once() {
    let users = ["new", "mia", "new"].map(Arc::from).to_vec();
    let change = decide(&user("olga"), &Command::AddMembers { users });
    let new = NamedMember {
        user: "new".into(),
        role: Role::Member,
    };
    assert_eq!(
        change,
        Ok(Some(Change::MembersAdded {
            members: vec![new],
            becomes_large: false
        }))
    );
}

#[test]
fn a_group_takes_members_up_to_its_limit() {
    let add = |users: &[&str]| Command::AddMembers {
        users: users.iter().map(|it| Arc::from(*it)).collect(),
    };
    assert!(decide(&user("olga"), &add(&["n1"])).is_ok());
    let refused = decide(&user("olga"), &add(&["n1", "n2"]));
    assert!(matches!(
        refused,
        Err(Rule::TooManyMembers {
            members: 7,
            max_members: 6,
            ..
        })
    ));
    assert_eq!(
        decide(&user("olga"), &add(&[])),
        Err(Rule::Nobody { field: "user_ids" })
    );
}

const ROOMY: Limits = Limits {
    max_large_members: 2_000,
    ..LIMITS
};

fn users(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|it| format!("n{it}").into()).collect()
}

#[test]
fn a_group_becomes_large_by_the_members_that_are_too_many_for_it_and_stays_so() {
    let owner = user("olga");
    let add = |group: &Conversation, count| {
        let command = Command::AddMembers {
            users: users(count),
        };
        match group.decide(&owner, &command, &ROOMY) {
            Ok(Some(Change::MembersAdded { becomes_large, .. })) => becomes_large,
            other => panic!("{other:?}"),
        }
    };
    assert!(!add(&group(), 1));
    assert!(add(&group(), 2));
    let mut large = group();
    large.class = Class::Large;
    large.member_count = 3;
    assert!(!add(&large, 1));
    large.member_count = 1_999;
    let command = Command::AddMembers { users: users(2) };
    assert!(matches!(
        large.decide(&owner, &command, &ROOMY),
        Err(Rule::TooManyMembers {
            members: 2_001,
            max_members: 2_000,
            ..
        })
    ));
}

#[test]
fn a_thousand_join_by_one_change_and_no_more() {
    let owner = user("olga");
    let add = |count| {
        let command = Command::AddMembers {
            users: users(count),
        };
        group().decide(&owner, &command, &ROOMY)
    };
    assert!(matches!(add(1_000), Ok(Some(_))));
    let refused = Rule::TooManyAtOnce {
        field: "user_ids",
        members: 1_001,
        max_members: 1_000,
    };
    assert_eq!(add(1_001), Err(refused));
}

#[test]
fn a_conversation_begins_large_where_it_is_asked_for_or_has_the_members() {
    let id = Arc::from("g");
    let create = |class, count| {
        let command = Command::Create {
            title: String::new(),
            owner: "olga".into(),
            members: users(count),
            history: History::All,
            class,
        };
        match Conversation::create(&id, &command, &ROOMY) {
            Ok(Change::Created { class, .. }) => Ok(class),
            Ok(other) => panic!("{other:?}"),
            Err(rule) => Err(rule),
        }
    };
    assert_eq!(create(Class::Group, 5), Ok(Class::Group));
    assert_eq!(create(Class::Group, 6), Ok(Class::Large));
    assert_eq!(create(Class::Large, 0), Ok(Class::Large));
    assert!(matches!(
        create(Class::Large, 1_000),
        Err(Rule::TooManyAtOnce {
            field: "member_ids",
            members: 1_001,
            ..
        })
    ));
}

#[test]
fn roles_and_ownership_go_to_members_only() {
    let owner = user("olga");
    let stranger = |command| matches!(decide(&owner, &command), Err(Rule::UserNotMember { .. }));
    assert!(stranger(Command::SetRole {
        user: "eve".into(),
        role: Role::Admin
    }));
    assert!(stranger(Command::TransferOwnership { to: "eve".into() }));
    for (user, role) in [("mia", Role::Owner), ("olga", Role::Member)] {
        let command = Command::SetRole {
            user: user.into(),
            role,
        };
        assert_eq!(decide(&owner, &command), Err(Rule::RoleNotGivable));
    }
}

#[test]
fn a_new_group_begins_with_its_owner_and_names_everybody_once() {
    let id = Arc::from("g");
    let create = |members: &[&str], title: &str| {
        let command = Command::Create {
            title: title.into(),
            owner: "olga".into(),
            members: members.iter().map(|it| Arc::from(*it)).collect(),
            history: History::SinceJoin,
            class: Class::Group,
        };
        Conversation::create(&id, &command, &LIMITS)
    };
    let Ok(Change::Created {
        members, history, ..
    }) = create(&["mia", "olga", "mia"], "")
    else {
        panic!("a group begins by Created");
    };
    assert_eq!(history, History::SinceJoin);
    let named: Vec<_> = members.iter().map(|it| (&*it.user, it.role)).collect();
    assert_eq!(named, [("olga", Role::Owner), ("mia", Role::Member)]);
    assert!(matches!(
        create(&["a", "b", "c", "d", "e", "f"], ""),
        Err(Rule::TooManyMembers { .. })
    ));
    assert!(matches!(
        create(&[], "eleven char"),
        Err(Rule::TitleTooLong {
            chars: 11,
            max_chars: 10
        })
    ));
}
