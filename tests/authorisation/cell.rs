//! One caller's call on one surface.

use std::fmt;

use flare_core::codec::Codec;
use flare_core_gateway::handler::{http::routes::Route, method::Method};
use flare_proto::{
    client::CloseReason,
    common::{Error, ErrorCode},
};
use flare_storage_model::direct_conversation_id;
use serde_json::Value;

use crate::{
    caller::Caller,
    expect::Expect,
    ground::Ground,
    request,
    stage::Stage,
    surfaces::{
        answer::Answer,
        link::{Link, connect},
        message::frame,
    },
    table::{Asked, Call, Effect, Row},
};

/// Where a call is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Surface {
    Grpc(Method),
    Http(&'static Route),
    Link,
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(_) => f.write_str("gRPC"),
            Self::Http(route) => write!(f, "HTTP {} {}", route.verb.name(), route.path),
            Self::Link => f.write_str("link"),
        }
    }
}

impl Surface {
    /// Whether it is the client link.
    pub(crate) const fn is_link(self) -> bool {
        matches!(self, Self::Link)
    }
}

/// The surfaces on which this caller's request can be made.
pub(crate) fn surfaces(row: &Row, caller: Caller) -> Vec<Surface> {
    let request = row.sample(caller);
    match row.call {
        Call::Frame(_) => vec![Surface::Link],
        Call::Method(method) => {
            let mut surfaces = vec![Surface::Grpc(method)];
            let routes = request::routes(method, &request);
            surfaces.extend(routes.map(|(route, _)| Surface::Http(route)));
            if request::frame(method, &request).is_some() {
                surfaces.push(Surface::Link);
            }
            surfaces
        }
    }
}

const UNKNOWN: Expect = Expect::Refused(ErrorCode::ConversationNotFound);

/// A caller's call.
pub(crate) struct Cell<'a> {
    pub(crate) row: &'a Row,
    pub(crate) caller: Caller,
    pub(crate) surface: Surface,
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, about) = (self.row.call.name(), self.row.about);
        let (caller, surface) = (self.caller.title(), self.surface);
        write!(f, "{call} {about} | {caller} | {surface}")
    }
}

impl Cell<'_> {
    /// Whether what is done here has to find its stage as it was made.
    pub(crate) fn spends(&self) -> bool {
        self.row.effect == Effect::Spends && self.is_done()
    }

    /// Whether it is done, and changes something.
    pub(crate) fn changes(&self) -> bool {
        self.row.effect != Effect::None && self.is_done()
    }

    fn is_done(&self) -> bool {
        let expect = self.row.expects.of(self.caller, self.surface.is_link());
        expect.is_done()
    }

    /// Asks, and says what is wrong with the answer.
    pub(crate) async fn check(&self, ground: &Ground, stage: &Stage) -> Result<(), String> {
        let answer = self.ask(ground, stage).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        let expect = self.row.expects.of(self.caller, self.surface.is_link());
        expect.check(&answer)?;
        // Over HTTP a refusal is the same one in JSON.
        match expect == UNKNOWN && !matches!(self.surface, Surface::Http(_)) {
            true => self.check_words(ground, stage).await,
            false => Ok(()),
        }
    }

    /// Whether what is there, and not for him, is answered in the same words as what is not there: a group, and a direct conversation, whose
    /// id anybody can work out.
    async fn check_words(&self, ground: &Ground, stage: &Stage) -> Result<(), String> {
        let no_room = format!("no-{}", stage.room);
        let no_direct = direct_conversation_id("default", &stage.owner, &stage.other);
        let is_in_room = matches!(self.caller, Caller::Admin | Caller::Left | Caller::Removed);
        for (there, not_there) in [(&stage.room, no_room), (&stage.direct, no_direct)] {
            if is_in_room && *there == stage.room {
                continue;
            }
            let of_there = self.refusal(ground, stage, there).await?;
            let of_nothing = self.refusal(ground, stage, &not_there).await?;
            if of_there != of_nothing {
                return Err(format!(
                    "{there} is told from what is not there: {of_there:?}, {of_nothing:?}"
                ));
            }
        }
        Ok(())
    }

    /// What is refused about a conversation, without its name.
    async fn refusal(&self, ground: &Ground, stage: &Stage, room: &str) -> Result<Error, String> {
        let stage = stage.asked_about(room);
        let answer = self.ask(ground, &stage).await;
        match answer.map_err(|error| format!("{error:#}"))? {
            Answer::Refused(mut error) => {
                error.message = error.message.replace(room, "it");
                Ok(error)
            }
            Answer::Done(_) => Err(format!("about {room} it was done")),
        }
    }

    async fn ask(&self, ground: &Ground, stage: &Stage) -> anyhow::Result<Answer> {
        let (token, device) = ground.connects_with(stage, self.caller)?;
        let asked = Asked {
            stage,
            caller: self.caller,
            id: format!("id-{}", ground.next_number()),
            token: token.clone(),
        };
        let request = (self.row.request)(&asked);
        match (self.surface, self.row.call) {
            (Surface::Grpc(method), _) => {
                let headers = ground.headers(stage, self.caller, method.access())?;
                let (name, body) = request::grpc(method, &request);
                ground.api.grpc(&name, &headers, &body).await
            }
            (Surface::Http(route), _) => {
                let headers = ground.headers(stage, self.caller, route.method.access())?;
                let found = request::routes(route.method, &request)
                    .find(|(it, _)| it.path == route.path && it.verb == route.verb);
                let (_, http) = found.ok_or_else(|| anyhow::anyhow!("the route has gone"))?;
                ground
                    .api
                    .http(http.verb, &http.path, &headers, &http.body)
                    .await
            }
            (Surface::Link, Call::Method(method)) => {
                let json = request::frame(method, &request);
                let json = json.ok_or_else(|| anyhow::anyhow!("no frame for it"))?;
                self.on_link(ground, (&token, device), &json, true).await
            }
            (Surface::Link, Call::Frame(name)) => {
                let is_answered = !matches!(name, "ack" | "signal");
                self.on_link(ground, (&token, device), &request, is_answered)
                    .await
            }
        }
    }

    /// Connects and sends the frame: the refusal of the one or the answer to the other. What is refused for its credential is closed, all
    /// else goes on.
    async fn on_link(
        &self,
        ground: &Ground,
        (token, device): (&str, &str),
        json: &Value,
        is_answered: bool,
    ) -> anyhow::Result<Answer> {
        let codec = Codec::Proto;
        let mut link = Link::dial(&ground.server, codec).await?;
        link.send(frame(codec, &connect(token, device))).await?;
        let connected = link.answer().await?;
        if let Answer::Refused(_) = connected {
            link.ends(CloseReason::Unauthenticated).await?;
            return Ok(connected);
        }
        link.send(frame(codec, json)).await?;
        let answer = match is_answered {
            true => link.answer().await?,
            false => connected,
        };
        link.goes_on().await?;
        Ok(answer)
    }
}
