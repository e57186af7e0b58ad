//! Tokens that are refused, expire, and are replaced.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use flare_core::codec::ClientFrame;
use flare_core_sdk::{
    CallError, Client, DisconnectReason, Event, SendError, TokenFuture, TokenProvider, TokenSource,
    proto::{client::RefreshResponse, common::ErrorCode},
};

use crate::{
    fake_server::{FakeServer, NOW_MS},
    group, next, soon,
};

/// Gives numbered tokens, and counts how often another one was needed.
#[derive(Default)]
struct Tokens {
    asked: AtomicU32,
    refused: AtomicU32,
}

impl TokenProvider for Tokens {
    fn token(&self, refused: bool) -> TokenFuture {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.refused.fetch_add(u32::from(refused), Ordering::SeqCst);
        Box::pin(async move { Ok(format!("token-{number}")) })
    }
}

#[tokio::test]
async fn a_provider_is_asked_again_when_its_token_is_refused_and_before_it_expires() {
    let server = FakeServer::start().await;
    let tokens = Arc::new(Tokens::default());
    let mut options = server.options();
    options.token = TokenSource::Provider(Arc::clone(&tokens) as Arc<dyn TokenProvider>);
    let (_client, mut events) = Client::connect(options);
    let mut peer = server.connection().await;
    assert_eq!(peer.connect.token, "token-1");
    let id = peer.connect.id;
    peer.refuse(id, ErrorCode::TokenExpired, 0).await;
    match next(&mut events).await {
        Some(Event::Disconnected {
            reason: DisconnectReason::Refused(refusal),
            retry_in: Some(_),
        }) => {
            assert_eq!(refusal.code, ErrorCode::TokenExpired);
        }
        other => panic!("{other:?}"),
    }
    let mut peer = server.connection().await;
    assert_eq!(peer.connect.token, "token-2");
    peer.welcome(NOW_MS + 100).await;
    match peer.next().await {
        Some(ClientFrame::Refresh(refresh)) => {
            assert_eq!(refresh.token, "token-3");
            let renewed = RefreshResponse {
                token_expires_ms: NOW_MS + 3_600_000,
            };
            peer.reply(refresh.id, "flare.client.v1.RefreshResponse", &renewed)
                .await;
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tokens.refused.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_token_is_brought_on_the_connection_and_used_for_the_next() {
    let server = FakeServer::start().await;
    let (client, _events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    let refreshed = tokio::spawn({
        let client = client.clone();
        async move { client.refresh("token-2").await }
    });
    match peer.next().await {
        Some(ClientFrame::Refresh(refresh)) => {
            assert_eq!(refresh.token, "token-2");
            let renewed = RefreshResponse::default();
            peer.reply(refresh.id, "flare.client.v1.RefreshResponse", &renewed)
                .await;
        }
        other => panic!("{other:?}"),
    }
    soon(refreshed).await.unwrap().unwrap();
    drop(peer);
    assert_eq!(server.connection().await.connect.token, "token-2");
}

#[tokio::test]
async fn a_fixed_token_that_is_refused_ends_the_client_and_tells_all_who_wait() {
    let server = FakeServer::start().await;
    let (client, mut events) = Client::connect(server.options());
    let sending = client.send_text(group(), "hello");
    let mut peer = server.connection().await;
    let id = peer.connect.id;
    peer.refuse(id, ErrorCode::TokenRevoked, 0).await;
    match next(&mut events).await {
        Some(Event::Disconnected {
            reason: DisconnectReason::Refused(refusal),
            retry_in: None,
        }) => {
            assert_eq!(refusal.code, ErrorCode::TokenRevoked);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut events).await, None);
    assert!(matches!(
        soon(sending).await,
        Err(SendError::NotSent { .. })
    ));
    let late = soon(client.send_text(group(), "late")).await.unwrap_err();
    assert!(late.to_string().contains("TOKEN_REVOKED"), "{late}");
    assert!(matches!(
        soon(client.presence(vec![])).await,
        Err(CallError::Ended { .. })
    ));
}
