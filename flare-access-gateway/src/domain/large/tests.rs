mod announcing;

use super::*;

const BOUNDS: Bounds = Bounds {
    places: 100,
    views: 2,
    hint_ms: 5_000,
};

fn key() -> ConversationKey {
    ConversationKey::new("t", "hall")
}

/// A directory, and a clock that stands still unless it is moved.
struct Bench {
    directory: LargeDirectory,
    now_ms: u64,
}

/// What flare-session says of a user: (joined, as of), if he is in it.
type Answer = Option<(u64, u64)>;

impl Bench {
    fn new() -> Self {
        Self {
            directory: LargeDirectory::new(BOUNDS),
            now_ms: 1_000,
        }
    }

    /// A user's connection comes, and is let in when flare-session has answered.
    fn comes(&mut self, user: &str, connection: u64, answer: Answer) {
        self.directory.connect(UserKey::new("t", user), connection);
        if self.directory.registered(connection) {
            self.answers(|it| (it == user).then_some(answer).flatten());
        }
        assert!(self.directory.is_known(connection));
        self.directory.begins(connection);
    }

    fn place(user: usize, (joined_seq, as_of): (u64, u64)) -> Place {
        Place {
            user,
            conversation: "hall".into(),
            joined_seq,
            as_of,
        }
    }

    /// Whoever is to be asked for is asked for, and answered of.
    fn answers(&mut self, of: impl Fn(&str) -> Answer) -> Vec<Hint> {
        let mut hints = Vec::new();
        while let Some(question) = self.directory.ask(100) {
            let users = question.users.iter().enumerate();
            let places = users.filter_map(|(at, user)| Some(Self::place(at, of(&user.user)?)));
            let places = places.collect();
            hints.extend(self.directory.answer(&question, places, &[]).hints);
        }
        hints
    }

    fn event(&mut self, seq: u64, member_seq: u64, change: &Change, named: &[u64]) -> FanOut {
        self.event_as(seq, member_seq, change, named, false)
    }

    fn event_as(
        &mut self,
        seq: u64,
        member_seq: u64,
        change: &Change,
        named: &[u64],
        named_all: bool,
    ) -> FanOut {
        let event = LargeEvent {
            key: &key(),
            seq,
            change,
            changes_members: *change != Change::None,
            member_seq,
            connections: named,
            named_all,
        };
        self.directory.event(&event, self.now_ms)
    }

    /// A message: who gets it.
    fn says(&mut self, seq: u64, member_seq: u64) -> Vec<u64> {
        self.event(seq, member_seq, &Change::None, &[]).connections
    }

    /// Who is hinted at: as one who is in it, and as one who may be.
    fn hinted(&mut self) -> (Vec<u64>, Vec<u64>) {
        let (mut certain, mut in_doubt) = (Vec::new(), Vec::new());
        for hint in self.directory.hints(self.now_ms) {
            certain.extend(hint.connections);
            in_doubt.extend(hint.in_doubt);
        }
        certain.sort_unstable();
        in_doubt.sort_unstable();
        (certain, in_doubt)
    }

    fn views(&mut self, connection: u64) {
        let owed = self.directory.view(connection, "hall", true);
        owed.expect("room");
    }
}

fn joined(user: &str) -> Change {
    Change::Joined(vec![user.into()])
}

fn gone(user: &str) -> Change {
    Change::Gone(user.into())
}

#[test]
fn who_views_gets_the_event_and_the_others_a_hint_now_and_then() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ann", 2, None);
    bench.comes("ben", 3, Some((2, 4)));
    bench.comes("eve", 4, None);
    bench.views(2);
    bench.views(4);
    assert_eq!(bench.says(5, 4), [2]);
    assert_eq!(bench.hinted(), (vec![1, 3], vec![]));
    // Within the pause, one hint stands for all that comes.
    for seq in 6..=9 {
        bench.now_ms += 1_000;
        assert_eq!(bench.says(seq, 4), [2]);
        assert_eq!(bench.hinted(), (vec![], vec![]));
    }
    assert_eq!(bench.directory.next_hint_ms(), Some(6_000));
    bench.now_ms = 6_000;
    let hints = bench.directory.hints(bench.now_ms);
    assert_eq!((hints.len(), hints[0].head_seq), (1, 9));
    assert_eq!(bench.directory.next_hint_ms(), None);
    bench.directory.view(2, "hall", false).expect("it goes on");
    bench.now_ms = 20_000;
    assert_eq!(bench.says(10, 4), Vec::<u64>::new());
    assert_eq!(bench.hinted(), (vec![1, 2, 3], vec![]));
}

#[test]
fn who_begins_to_view_is_told_of_what_he_was_to_be_told_later() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 1)));
    bench.says(5, 1);
    bench.hinted();
    bench.says(6, 1);
    assert_eq!(bench.directory.view(1, "hall", true), Ok(Some(6)));
    assert_eq!(bench.directory.view(1, "elsewhere", true), Ok(None));
    assert_eq!(bench.directory.view(1, "third", true), Err(TooManyViews(2)));
    assert_eq!(bench.directory.view(1, "elsewhere", false), Ok(None));
    assert_eq!(bench.directory.view(1, "third", true), Ok(None));
}

#[test]
fn who_joins_gets_his_event_and_what_follows_and_who_goes_gets_that_and_nothing_after() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ben", 2, None);
    bench.views(1);
    bench.views(2);
    assert_eq!(bench.says(5, 4), [1]);
    let comes = bench.event(6, 4, &joined("ben"), &[2]);
    assert_eq!(comes.connections, [1, 2]);
    assert_eq!(bench.says(7, 6), [1, 2]);
    bench.hinted();
    let goes = bench.event(8, 6, &gone("ben"), &[]);
    assert_eq!(goes.connections, [1, 2]);
    assert_eq!(bench.says(9, 8), [1]);
    bench.now_ms += 5_000;
    assert_eq!(bench.hinted(), (vec![], vec![]));
    assert_eq!(bench.directory.places(), 1);
}

#[test]
fn after_missed_member_events_nobody_gets_anything_before_he_is_asked_for() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ben", 2, Some((1, 4)));
    bench.views(1);
    bench.views(2);
    // Ben was removed at 6, and that went astray.
    assert_eq!(bench.says(7, 6), Vec::<u64>::new());
    assert_eq!(
        bench.hinted(),
        (vec![], vec![1, 2]),
        "to sync their inboxes"
    );
    let hints = bench.answers(|user| (user == "ann").then_some((1, 6)));
    let told = |of: fn(&Hint) -> &Vec<u64>| hints.iter().flat_map(of).copied().collect::<Vec<_>>();
    assert_eq!(told(|it| &it.connections), [1]);
    assert_eq!(told(|it| &it.in_doubt), [2], "that he is out");
    assert_eq!(bench.says(8, 6), [1]);
    assert_eq!(bench.directory.places(), 1);
}

#[test]
fn an_answer_from_before_a_missed_event_is_not_believed() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ben", 2, Some((1, 4)));
    bench.views(2);
    bench.directory.doubt_all();
    let asked = bench.directory.ask(100).expect("all");
    bench.says(7, 6);
    // He is in it as of 4, and as of 6 he is not.
    let ben = asked.users.iter().position(|it| &*it.user == "ben");
    let ben = ben.expect("asked for");
    let answered = bench
        .directory
        .answer(&asked, vec![Bench::place(ben, (1, 4))], &[]);
    assert!(answered.hints.is_empty());
    assert_eq!(bench.says(8, 6), Vec::<u64>::new());
    // Nor that one is not, from before.
    assert_eq!(bench.directory.places(), 2);
    bench.directory.ask_again();
    bench.answers(|user| (user == "ann").then_some((1, 6)));
    assert_eq!(bench.directory.places(), 1);
}

#[test]
fn a_place_that_is_older_than_what_has_come_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.directory.connect(UserKey::new("t", "ben"), 2);
    bench.directory.registered(2);
    let asked = bench.directory.ask(100).expect("ben");
    // He is removed while the answer is on its way.
    assert_eq!(bench.event(6, 4, &gone("ben"), &[2]).connections, [2]);
    bench
        .directory
        .answer(&asked, vec![Bench::place(0, (1, 4))], &[]);
    assert_eq!(bench.directory.places(), 1);
    assert!(!bench.directory.is_known(2) && bench.directory.has_incomplete());
    bench.directory.ask_again();
    bench.answers(|_| None);
    assert!(bench.directory.is_known(2));
    bench.views(2);
    assert_eq!(bench.says(7, 6), Vec::<u64>::new());
}

#[test]
fn a_place_of_a_conversation_that_was_left_alone_is_judged_by_the_next_event() {
    let mut bench = Bench::new();
    bench.directory.connect(UserKey::new("t", "ben"), 1);
    bench.directory.registered(1);
    let asked = bench.directory.ask(100).expect("ben");
    let passes = bench.event(6, 4, &gone("ben"), &[1]);
    assert_eq!((passes.connections, passes.is_unwanted), (vec![1], true));
    bench
        .directory
        .answer(&asked, vec![Bench::place(0, (1, 4))], &[]);
    bench.directory.begins(1);
    bench.views(1);
    assert_eq!(bench.says(7, 6), Vec::<u64>::new());
    bench.answers(|_| None);
    assert_eq!(bench.directory.conversations(), 0);
}

#[test]
fn what_comes_again_is_given_again_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 1)));
    bench.comes("ben", 2, None);
    bench.views(2);
    bench.event(2, 1, &joined("ben"), &[2]);
    bench.event(3, 2, &gone("ben"), &[]);
    bench.event(4, 3, &joined("ben"), &[2]);
    // push-server begins anew at 2.
    bench.event(2, 1, &joined("ben"), &[2]);
    bench.event(3, 2, &gone("ben"), &[]);
    assert_eq!(bench.says(5, 4), [2], "he came back at 4");
    bench.event(6, 4, &gone("ben"), &[]);
    // And once more, after he has gone for good.
    bench.event(4, 3, &joined("ben"), &[2]);
    bench.event(6, 4, &gone("ben"), &[]);
    assert_eq!(bench.says(7, 6), Vec::<u64>::new());
    // If it breaks off behind his coming, what follows shows that something is missing.
    bench.event(4, 3, &joined("ben"), &[2]);
    assert_eq!(bench.says(8, 6), Vec::<u64>::new());
    assert!(bench.directory.ask(100).is_some());
}

#[test]
fn an_event_from_before_one_joined_is_not_for_him() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 9)));
    bench.comes("ben", 2, Some((8, 9)));
    bench.views(1);
    bench.views(2);
    assert_eq!(bench.says(7, 4), [1]);
    assert_eq!(bench.event(8, 4, &joined("ben"), &[2]).connections, [1, 2]);
    assert_eq!(bench.says(9, 8), [1, 2]);
}

/// One has been told of by flare-session before the event comes by which his group became large: the others have not.
#[test]
fn a_group_that_becomes_large_brings_all_whom_its_event_names() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, None);
    bench.comes("ben", 2, None);
    bench.comes("cat", 3, Some((1, 7)));
    bench.comes("dan", 4, None);
    let grows = bench.event_as(7, 1, &joined("dan"), &[1, 2, 3, 4], true);
    assert_eq!(grows.connections, [1, 2, 3, 4]);
    assert_eq!(bench.directory.places(), 4);
    for connection in 1..=4 {
        bench.views(connection);
    }
    assert_eq!(bench.says(8, 7), [1, 2, 3, 4]);
    let fresh = bench.event_as(1, 0, &joined("ann"), &[1], true);
    assert!(!fresh.is_unwanted);
}

#[test]
fn a_user_who_joins_before_what_is_known_of_others_is_taken_in_by_his_event() {
    let mut bench = Bench::new();
    bench.comes("ben", 1, None);
    bench.comes("ann", 2, Some((1, 9)));
    bench.views(1);
    bench.views(2);
    // The stream is behind what flare-session said of Ann.
    bench.event(5, 3, &joined("ben"), &[1]);
    assert_eq!(bench.says(6, 5), [1, 2]);
    bench.event(9, 5, &gone("ben"), &[]);
    assert_eq!(bench.says(10, 9), [2]);
}

#[test]
fn who_comes_into_doubt_and_is_named_is_a_member_again() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.views(1);
    bench.says(7, 6);
    assert_eq!(bench.event(8, 6, &joined("ann"), &[1]).connections, [1]);
    assert_eq!(bench.says(9, 8), [1]);
    bench.answers(|_| Some((8, 8)));
    assert_eq!(bench.says(10, 8), [1]);
}

#[test]
fn all_are_asked_for_again_when_something_may_be_lost_and_who_is_found_is_told() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, None);
    bench.directory.doubt_all();
    let hints = bench.answers(|_| Some((3, 3)));
    assert_eq!((hints.len(), &hints[0].connections[..]), (1, &[1][..]));
    bench.directory.doubt_all();
    assert!(bench.answers(|_| Some((3, 3))).is_empty(), "nothing new");
}

#[test]
fn who_is_not_let_in_yet_needs_no_hint() {
    let mut bench = Bench::new();
    bench.directory.connect(UserKey::new("t", "ann"), 1);
    bench.directory.registered(1);
    assert!(bench.answers(|_| Some((1, 1))).is_empty());
    bench.says(2, 1);
    assert_eq!(bench.hinted(), (vec![], vec![]));
    bench.directory.begins(1);
    bench.now_ms += 5_000;
    bench.says(3, 1);
    assert_eq!(bench.hinted(), (vec![1], vec![]));
}

#[test]
fn an_incomplete_answer_is_asked_for_again_and_a_failed_question_too() {
    let mut bench = Bench::new();
    bench.directory.connect(UserKey::new("t", "ann"), 1);
    assert!(bench.directory.ask(10).is_none(), "presence comes first");
    assert!(bench.directory.registered(1) && !bench.directory.registered(1));
    let question = bench.directory.ask(10).expect("ann");
    assert!(bench.directory.ask(10).is_none());
    bench.directory.answer(&question, Vec::new(), &[0]);
    assert!(!bench.directory.is_known(1) && bench.directory.has_incomplete());
    bench.directory.ask_again();
    let question = bench.directory.ask(10).expect("ann");
    bench.directory.failed(question);
    assert!(bench.directory.has_failed());
    bench.directory.ask_again();
    bench.answers(|_| None);
    assert!(bench.directory.is_known(1) && !bench.directory.has_failed());
}

#[test]
fn nothing_is_left_of_who_has_gone() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ann", 2, None);
    bench.views(1);
    bench.says(5, 4);
    bench.directory.disconnect(1);
    assert_eq!(bench.says(6, 4), Vec::<u64>::new());
    bench.directory.doubt_all();
    bench.directory.disconnect(2);
    let directory = &bench.directory;
    assert!(directory.users.is_empty() && directory.by_connection.is_empty());
    assert!(directory.conversations.is_empty() && directory.views.is_empty());
    assert_eq!(directory.places(), 0);
    assert!(bench.directory.ask(10).is_none());
    bench.now_ms += 10_000;
    assert_eq!(bench.hinted(), (vec![], vec![]));
    assert!(bench.directory.due.is_empty());
}

#[test]
fn nothing_is_kept_of_a_conversation_that_is_over() {
    let mut bench = Bench::new();
    bench.comes("ann", 1, Some((1, 4)));
    bench.views(1);
    assert_eq!(bench.event(5, 4, &Change::Ended, &[]).connections, [1]);
    assert_eq!(
        (bench.directory.conversations(), bench.directory.places()),
        (0, 0)
    );
}

#[test]
fn there_are_no_more_places_than_may_be() {
    let mut bench = Bench::new();
    bench.directory.bounds.places = 1;
    bench.comes("ann", 1, Some((1, 4)));
    bench.comes("ben", 2, None);
    let comes = bench.event(5, 4, &joined("ben"), &[2]);
    assert_eq!((comes.connections, comes.no_room), (vec![2], vec![2]));
    bench.directory.connect(UserKey::new("t", "cat"), 3);
    bench.directory.registered(3);
    let question = bench.directory.ask(10).expect("cat");
    let answered = bench
        .directory
        .answer(&question, vec![Bench::place(0, (1, 5))], &[]);
    assert_eq!(answered.no_room, [3]);
    assert_eq!(bench.directory.places(), 1);
}
