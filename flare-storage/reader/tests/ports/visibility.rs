//! `Visibility`.

use std::sync::Arc;

use async_trait::async_trait;
use flare_proto::session::{
    AuthorizeItem, AuthorizeRequest, AuthorizeResponse, Membership, MembershipState,
    session_service_server::SessionServiceServer,
};
use flare_server_core::{error::Refusal, registry::service};
use flare_storage_model::ConversationKey;
use flare_storage_reader::{
    application::ports::{Shown, Visibility, Visible},
    infrastructure::grpc_visibility::GrpcVisibility,
};
use tonic::Status;

use crate::{Flawed, Outcome, answering, each_breaks_its_own, same};

/// flare-session's side.
#[derive(Clone, Copy)]
enum Session {
    /// It knows its groups.
    Answers,
    /// Of one conversation fewer.
    TellsTooLittle,
    /// With a state that nobody knows.
    SaysNothing,
    Fails,
}

/// Of every answer.
const AS_OF: u64 = 5;

fn membership(item: &AuthorizeItem) -> Membership {
    let (state, from, to) = match (item.tenant_id.as_str(), item.conversation_id.as_str()) {
        ("default", "all") => (MembershipState::Active, 0, 0),
        ("default", "since-join") => (MembershipState::Active, 7, 0),
        ("default", "left") => (MembershipState::Former, 3, 9),
        ("default", "strange") => (MembershipState::Stranger, 0, 0),
        _ => (MembershipState::ConversationUnknown, 0, 0),
    };
    Membership {
        state: state.into(),
        visible_from_seq: from,
        visible_to_seq: to,
        as_of: AS_OF,
        ..Membership::default()
    }
}

impl Session {
    fn answer(self, request: &AuthorizeRequest) -> Result<AuthorizeResponse, Status> {
        let mut memberships: Vec<_> = request.items.iter().map(membership).collect();
        match self {
            Self::Answers => {}
            Self::TellsTooLittle => drop(memberships.pop()),
            Self::SaysNothing => memberships.iter_mut().for_each(|it| it.state = 99),
            Self::Fails => return Err(Status::unavailable("away")),
        }
        Ok(AuthorizeResponse { memberships })
    }
}

/// A way to break one obligation.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Reverses,
    WidensParts,
    LooksNewer,
    Guesses,
}

#[async_trait]
impl Visibility for Flawed<GrpcVisibility, Flaw> {
    async fn visible(
        &self,
        user: &str,
        conversations: &[ConversationKey],
    ) -> Result<Vec<Shown>, Refusal> {
        let mut told = match (self.inner.visible(user, conversations).await, self.flaw) {
            (Err(_), Some(Flaw::Guesses)) => vec![shown(Visible::Nothing); conversations.len()],
            (told, _) => told?,
        };
        match self.flaw {
            Some(Flaw::Reverses) => told.reverse(),
            Some(Flaw::WidensParts) => {
                for it in &mut told {
                    if let Visible::Between { to, .. } = &mut it.visible {
                        *to = 0;
                    }
                }
            }
            Some(Flaw::LooksNewer) => told.iter_mut().for_each(|it| it.as_of += 1),
            Some(Flaw::Guesses) | None => {}
        }
        Ok(told)
    }
}

fn subject(session: Session, flaw: Option<Flaw>) -> Arc<dyn Visibility> {
    let answer = move |request: AuthorizeRequest| session.answer(&request);
    let channels =
        answering::channels::<SessionServiceServer<NoSession>, _, _>(service::SESSION, answer);
    Arc::new(Flawed {
        inner: GrpcVisibility::new(&channels),
        flaw,
    })
}

/// Only its name is needed.
struct NoSession;

fn shown(visible: Visible) -> Shown {
    let as_of = AS_OF;
    Shown { visible, as_of }
}

fn part(from: u64, to: u64) -> Visible {
    Visible::Between { from, to }
}

fn keys(tenant: &str, names: &[&str]) -> Vec<ConversationKey> {
    let key = |name: &&str| ConversationKey::new(tenant, *name);
    names.iter().map(key).collect()
}

async fn visible(
    visibility: &dyn Visibility,
    asked: &[ConversationKey],
) -> Result<Vec<Visible>, Refusal> {
    let told = visibility.visible("alice", asked).await?;
    Ok(told.into_iter().map(|it| it.visible).collect())
}

async fn each_in_its_place(flaw: Option<Flaw>) -> Outcome {
    let visibility = subject(Session::Answers, flaw);
    let mut asked = keys("default", &["strange", "all", "nowhere", "all"]);
    asked.extend(keys("other", &["all"]));
    let told = visible(&*visibility, &asked).await;
    let ought = vec![
        Visible::Nothing,
        part(0, 0),
        Visible::Unknown,
        part(0, 0),
        Visible::Unknown,
    ];
    same(told, Ok(ought))
}

async fn as_it_was_said(flaw: Option<Flaw>) -> Outcome {
    let visibility = subject(Session::Answers, flaw);
    for (name, ought) in [
        ("all", part(0, 0)),
        ("since-join", part(7, 0)),
        ("left", part(3, 9)),
    ] {
        let told = visible(&*visibility, &keys("default", &[name])).await;
        same(told, Ok(vec![ought]))?;
    }
    Ok(())
}

async fn as_old_as_it_was_said(flaw: Option<Flaw>) -> Outcome {
    let visibility = subject(Session::Answers, flaw);
    let told = visibility
        .visible("alice", &keys("default", &["all"]))
        .await;
    let told = told.map(|all| all.into_iter().map(|it| it.as_of).collect::<Vec<_>>());
    same(told, Ok(vec![AS_OF]))
}

async fn no_guess(flaw: Option<Flaw>) -> Outcome {
    for session in [
        Session::Fails,
        Session::SaysNothing,
        Session::TellsTooLittle,
    ] {
        let visibility = subject(session, flaw);
        let asked = keys("default", &["all", "all"]);
        if let Ok(told) = visibility.visible("alice", &asked).await {
            return Err(format!("nobody said it: {told:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_adapter_gives_each_answer_in_its_place() {
    assert_eq!(each_in_its_place(None).await, Ok(()));
}

#[tokio::test]
async fn the_adapter_leaves_a_part_as_it_was_said() {
    assert_eq!(as_it_was_said(None).await, Ok(()));
}

#[tokio::test]
async fn the_adapter_makes_no_answer_newer() {
    assert_eq!(as_old_as_it_was_said(None).await, Ok(()));
}

#[tokio::test]
async fn the_adapter_does_not_guess() {
    assert_eq!(no_guess(None).await, Ok(()));
}

#[tokio::test]
async fn an_adapter_that_breaks_one_obligation_fails_that_one_only() {
    let flaws = [
        Flaw::Reverses,
        Flaw::WidensParts,
        Flaw::LooksNewer,
        Flaw::Guesses,
    ];
    each_breaks_its_own(flaws, async |flaw| {
        [
            each_in_its_place(flaw).await,
            as_it_was_said(flaw).await,
            as_old_as_it_was_said(flaw).await,
            no_guess(flaw).await,
        ]
    })
    .await;
}
