//! Who is let in, and what a call of his carries further in.

use axum::http::HeaderMap;
use flare_proto::common::{self, ActorKind, ErrorCode, RequestContext, TenantContext};
use flare_server_core::error::Refusal;

use super::{method::Method, observe::RequestIds};
use crate::{
    application::{
        credentials::{API_KEY_HEADER, Credentials, Presented, TOKEN_HEADER},
        rate_limits::RateLimits,
    },
    domain::caller::{ACTING_USER_HEADER, Actor, Caller, Proof, shortened},
};

/// Decides who may call what, and how often.
pub struct Admission {
    /// Tells who asks.
    pub credentials: Credentials,
    /// How often he may.
    pub rate_limits: RateLimits,
}

/// A call that was let in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// Its ids.
    pub ids: RequestIds,
    /// What it has cost its caller, in requests.
    pub charged: u32,
}

impl Admission {
    /// Lets a call in.
    ///
    /// # Errors
    /// Whatever identity, scope or rate forbids.
    pub async fn admit(
        &self,
        method: Method,
        headers: &HeaderMap,
        ids: RequestIds,
    ) -> Result<Call, Refusal> {
        let presented = Presented {
            authorization: header(headers, TOKEN_HEADER)?,
            api_key: header(headers, API_KEY_HEADER)?,
            acting_user: header(headers, ACTING_USER_HEADER)?,
        };
        let caller = self.credentials.identify(presented).await?;
        self.rate_limits.charge(&caller, 0, 1)?;
        caller.may(method.access())?;
        Ok(Call {
            caller,
            ids,
            charged: 1,
        })
    }

    /// Takes what a call costs more than it was charged for, now that it is known to cost `requests` in all.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn charge(&self, call: &mut Call, requests: usize) -> Result<(), Refusal> {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        if requests > call.charged {
            self.rate_limits
                .charge(&call.caller, call.charged, requests)?;
            call.charged = requests;
        }
        Ok(())
    }
}

/// A header's text; empty: not there. Twice, or no text: refused, since the second one would count for nothing.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(""),
        (Some(value), None) => value.to_str().map_err(|_| {
            Refusal::new(ErrorCode::Unauthenticated, "not visible ASCII").with_field(name)
        }),
        (Some(_), Some(_)) => {
            Err(Refusal::new(ErrorCode::Unauthenticated, "sent twice").with_field(name))
        }
    }
}

impl Call {
    /// Puts the true context in a request's place for it.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for a context that names an actor or a tenant.
    pub fn fill(&self, context: &mut Option<RequestContext>) -> Result<(), Refusal> {
        refuse_own(context.as_ref(), "context")?;
        *context = Some(self.context(self.actor()));
        Ok(())
    }

    /// The context for acting as `actor`.
    pub fn context(&self, actor: common::Actor) -> RequestContext {
        RequestContext {
            request_id: self.ids.request_id.clone(),
            trace_id: self.ids.trace_id.to_string(),
            actor: Some(actor),
            tenant: Some(TenantContext {
                tenant_id: self.caller.tenant.clone(),
            }),
        }
    }

    /// The caller, as inner services see him.
    pub fn actor(&self) -> common::Actor {
        wire_actor(&self.caller.actor)
    }

    /// Begins an administrative act.
    pub fn audit(&self, act: &'static str, subject: &str) -> Audit<'_> {
        Audit {
            call: self,
            act,
            subject: shortened(subject),
            outcome: "UNKNOWN",
        }
    }
}

/// Writes an API key's administrative act down when it is dropped: whatever came of it, and also if its caller went away meanwhile.
pub struct Audit<'a> {
    call: &'a Call,
    act: &'static str,
    subject: String,
    outcome: &'static str,
}

impl Audit<'_> {
    /// Says more precisely what it is about.
    pub fn subject(&mut self, subject: String) {
        self.subject = subject;
    }

    /// Says what came of it.
    pub fn outcome<T>(mut self, outcome: &Result<T, Refusal>) {
        self.outcome = outcome
            .as_ref()
            .err()
            .map_or("OK", |refusal| refusal.code.as_str_name());
    }
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        let Proof::ApiKey { id: key_id, .. } = &self.call.caller.proof else {
            return;
        };
        let Self {
            act,
            subject,
            outcome,
            call,
        } = self;
        let (tenant, trace_id) = (&call.caller.tenant, call.ids.trace_id);
        tracing::info!(target: "flare::audit", act, subject, outcome, %key_id, tenant, %trace_id, "administrative act");
    }
}

/// The actor as the contract has it.
pub fn wire_actor(actor: &Actor) -> common::Actor {
    let (kind, user, device) = match actor {
        Actor::User { user, device } => (ActorKind::User, user.as_str(), device.as_deref()),
        Actor::ForUser { user } => (ActorKind::Api, user.as_str(), None),
        Actor::System => (ActorKind::System, "", None),
    };
    common::Actor {
        kind: kind.into(),
        user_id: user.to_owned(),
        device_id: device.unwrap_or_default().to_owned(),
    }
}

/// Refuses a caller's own context if it would say who he is.
pub fn refuse_own(context: Option<&RequestContext>, field: &'static str) -> Result<(), Refusal> {
    match context {
        Some(context) if context.actor.is_some() || context.tenant.is_some() => Err(Refusal::new(
            ErrorCode::PermissionDenied,
            "who asks is told by the token or API key: leave actor and tenant out",
        )
        .with_field(field)),
        _ => Ok(()),
    }
}
