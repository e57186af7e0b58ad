//! What every `TokenValidator` owes, whoever signs its tokens.

use std::sync::Arc;

use flare_proto::common::ErrorCode;
use flare_server_core::{
    error::Refusal,
    identity::{Claims, MAX_LIFE_S, TokenError, TokenValidator},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

pub(crate) const NOW_S: i64 = 1_700_000_000;

/// An adapter under test, with somebody whose tokens it takes. The configured tenants are `default` and `acme`, the leeway is five seconds.
pub(crate) struct Subject {
    pub(crate) validator: Arc<dyn TokenValidator>,
    pub(crate) sign: Box<dyn Fn(&Value) -> String + Send + Sync>,
}

/// One test for each obligation.
macro_rules! token_validator_contract {
    ($name:ident, $subject:expr) => {
        mod $name {
            use super::*;

            token_validator_contract!(@each $subject;
                a_good_token_says_who_it_is_for,
                a_token_without_a_tenant_is_of_the_default_one,
                a_tenant_that_is_not_configured_is_refused,
                ids_that_the_contract_does_not_take_are_refused,
                a_claim_that_is_missing_is_named,
                a_claim_of_the_wrong_type_is_named,
                a_token_lives_until_its_expiry_and_a_short_leeway,
                a_token_from_the_future_is_refused,
                a_token_that_would_be_good_for_too_long_is_refused,
                a_changed_token_is_refused,
                a_long_token_is_refused,
                any_text_gives_claims_or_an_error,
            );
        }
    };
    (@each $subject:expr; $($test:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $test() {
            let folder = tempfile::tempdir().unwrap();
            $crate::contract::$test($subject(folder.path())).await;
        }
    )*};
}
pub(crate) use token_validator_contract;

pub(crate) fn claims() -> Value {
    json!({ "sub": "alice", "tid": "acme", "did": "phone", "iat": NOW_S, "exp": NOW_S + 100 })
}

/// The claims with some in the place of others; null takes one away.
fn claims_with(other: Value) -> Value {
    let mut all = claims();
    let claims: &mut Map<_, _> = all.as_object_mut().unwrap();
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    all
}

impl Subject {
    async fn validate_at(&self, claims: &Value, now_s: i64) -> Result<Claims, TokenError> {
        self.validator
            .validate(&(self.sign)(claims), now_s * 1_000)
            .await
    }

    async fn validate(&self, other: Value) -> Result<Claims, TokenError> {
        self.validate_at(&claims_with(other), NOW_S).await
    }

    async fn code(&self, token: &str) -> Option<ErrorCode> {
        self.validator
            .validate(token, NOW_S * 1_000)
            .await
            .err()
            .map(|it| Refusal::from(it).code)
    }
}

pub(crate) async fn a_good_token_says_who_it_is_for(subject: Subject) {
    let claims = subject
        .validate(json!({ "other": [1, { "x": null }] }))
        .await
        .unwrap();
    let told = Claims {
        tenant: "acme".to_owned(),
        user: "alice".to_owned(),
        device: Some("phone".to_owned()),
        expires_s: NOW_S + 100,
        issued_s: NOW_S,
    };
    assert_eq!(claims, told);
    assert_eq!(
        subject
            .validate(json!({ "did": null }))
            .await
            .unwrap()
            .device,
        None
    );
    assert_eq!(
        subject
            .validate(json!({ "iat": NOW_S as f64 + 0.9 }))
            .await
            .unwrap()
            .issued_s,
        NOW_S
    );
}

pub(crate) async fn a_token_that_would_be_good_for_too_long_is_refused(subject: Subject) {
    let exp = NOW_S + MAX_LIFE_S;
    assert!(subject.validate(json!({ "exp": exp })).await.is_ok());
    for wrong in [
        json!({ "exp": exp + 1 }),
        json!({ "exp": exp, "iat": NOW_S - 1 }),
    ] {
        let error = subject.validate(wrong).await.unwrap_err();
        assert!(
            matches!(error, TokenError::BadClaim { claim: "exp", .. }),
            "{error}"
        );
    }
}

pub(crate) async fn a_token_without_a_tenant_is_of_the_default_one(subject: Subject) {
    assert_eq!(
        subject
            .validate(json!({ "tid": null }))
            .await
            .unwrap()
            .tenant,
        "default"
    );
}

pub(crate) async fn a_tenant_that_is_not_configured_is_refused(subject: Subject) {
    let error = subject
        .validate(json!({ "tid": "rival" }))
        .await
        .unwrap_err();
    assert_eq!(error, TokenError::UnknownTenant("rival".to_owned()));
    assert_eq!(Refusal::from(error).code, ErrorCode::TenantMismatch);
}

pub(crate) async fn ids_that_the_contract_does_not_take_are_refused(subject: Subject) {
    for (claim, id) in [
        ("sub", "a/b"),
        ("sub", ""),
        ("sub", ".."),
        ("tid", "ACME"),
        ("did", "a\u{0}b"),
        ("did", "电话"),
    ] {
        let error = subject.validate(json!({ claim: id })).await.unwrap_err();
        assert!(
            matches!(error, TokenError::BadClaim { claim: named, .. } if named == claim),
            "{claim} {id:?}: {error}"
        );
        assert_eq!(Refusal::from(error).code, ErrorCode::Unauthenticated);
    }
}

pub(crate) async fn a_claim_that_is_missing_is_named(subject: Subject) {
    for claim in ["sub", "exp", "iat"] {
        assert_eq!(
            subject.validate(json!({ claim: null })).await,
            Err(TokenError::MissingClaim(claim))
        );
    }
}

pub(crate) async fn a_claim_of_the_wrong_type_is_named(subject: Subject) {
    let milliseconds = NOW_S * 1_000;
    let wrong = [
        ("sub", json!(7)),
        ("tid", json!(["acme"])),
        ("did", json!({})),
        ("exp", json!("soon")),
        ("exp", json!(milliseconds)),
        ("exp", json!(1e300)),
        ("iat", json!(-1)),
        ("iat", json!(u64::MAX)),
    ];
    for (claim, value) in wrong {
        let error = subject.validate(json!({ claim: value })).await.unwrap_err();
        assert!(
            matches!(error, TokenError::BadClaim { claim: named, .. } if named == claim),
            "{claim} {value}: {error}"
        );
    }
}

pub(crate) async fn a_token_lives_until_its_expiry_and_a_short_leeway(subject: Subject) {
    assert!(subject.validate_at(&claims(), NOW_S + 100).await.is_ok());
    assert!(subject.validate_at(&claims(), NOW_S + 104).await.is_ok());
    let error = subject
        .validate_at(&claims(), NOW_S + 105)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TokenError::Expired {
            expires_s: NOW_S + 100,
            now_ms: (NOW_S + 105) * 1_000
        }
    );
    assert_eq!(Refusal::from(error).code, ErrorCode::TokenExpired);
}

pub(crate) async fn a_token_from_the_future_is_refused(subject: Subject) {
    assert!(
        subject
            .validate(json!({ "iat": NOW_S + 60, "exp": NOW_S + 600 }))
            .await
            .is_ok()
    );
    let error = subject
        .validate(json!({ "iat": NOW_S + 61, "exp": NOW_S + 600 }))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TokenError::NotYetValid {
            from_s: NOW_S + 61,
            now_ms: NOW_S * 1_000
        }
    );
    assert_eq!(Refusal::from(error).code, ErrorCode::Unauthenticated);
    let error = subject
        .validate(json!({ "nbf": NOW_S + 6 }))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TokenError::NotYetValid {
            from_s: NOW_S + 6,
            now_ms: NOW_S * 1_000
        }
    );
    assert!(subject.validate(json!({ "nbf": NOW_S + 5 })).await.is_ok());
}

pub(crate) async fn a_changed_token_is_refused(subject: Subject) {
    let (alice, bob) = (
        (subject.sign)(&claims()),
        (subject.sign)(&claims_with(json!({ "sub": "bob" }))),
    );
    let (alices, bobs) = (
        alice.split('.').collect::<Vec<_>>(),
        bob.split('.').collect::<Vec<_>>(),
    );
    let [header, payload, signature] = alices[..] else {
        panic!("{alice} is no signed token")
    };
    let changed = [
        [header, bobs[1], signature].join("."),
        [header, payload, bobs[2]].join("."),
        [header, payload, ""].join("."),
        [header, payload].join("."),
        // {"alg":"none"}
        ["eyJhbGciOiJub25lIn0", payload, ""].join("."),
        format!("{alice}A"),
        format!(" {alice}"),
        format!("{alice}.{signature}"),
    ];
    assert_eq!(subject.code(&alice).await, None);
    for token in changed {
        assert_eq!(
            subject.code(&token).await,
            Some(ErrorCode::Unauthenticated),
            "{token}"
        );
    }
}

pub(crate) async fn a_long_token_is_refused(subject: Subject) {
    let token = (subject.sign)(&claims_with(json!({ "padding": "x".repeat(5_000) })));
    assert!(token.len() <= 8_192, "{}", token.len());
    assert_eq!(subject.code(&token).await, None);
    let token = (subject.sign)(&claims_with(json!({ "padding": "x".repeat(6_200) })));
    let error = subject
        .validator
        .validate(&token, NOW_S * 1_000)
        .await
        .unwrap_err();
    assert_eq!(error, TokenError::TooLong(token.len()));
    assert_eq!(Refusal::from(error).code, ErrorCode::Unauthenticated);
}

pub(crate) async fn any_text_gives_claims_or_an_error(subject: Subject) {
    let mut runner = TestRunner::deterministic();
    let good = (subject.sign)(&claims());
    for _ in 0..500 {
        let text = proptest::prelude::any::<String>()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        assert!(
            subject
                .validator
                .validate(&text, NOW_S * 1_000)
                .await
                .is_err(),
            "{text:?}"
        );
    }
    let cut = (0..good.len(), "\\PC{0,8}")
        .prop_map(|(at, text)| format!("{}{text}{}", &good[..at], &good[at..]));
    for _ in 0..100 {
        let text = cut.new_tree(&mut runner).unwrap().current();
        let claims = subject.validator.validate(&text, NOW_S * 1_000).await;
        assert!(claims.is_err() || text == good, "{text:?}");
    }
}
