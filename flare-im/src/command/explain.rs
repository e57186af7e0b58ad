//! `flare explain`.

use anyhow::Context;
use flare_proto::{
    gateway::{
        ExplainMessageRequest, ExplainMessageResponse,
        core_gateway_service_client::CoreGatewayServiceClient,
    },
    message::Event,
    storage::LogPresence,
};
use flare_server_core::{error::Refusal, telemetry::TraceId};
use prost::Message;
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{cli, output::say};

/// Asks core-gateway for a message's way, and prints it.
pub async fn run(args: &cli::Explain) -> anyhow::Result<()> {
    let channel = endpoint(args)?
        .connect()
        .await
        .with_context(|| format!("nobody answers at {}", args.api))?;
    let mut request = Request::new(ExplainMessageRequest {
        context: None,
        message_id: args.message_id.clone(),
    });
    let key = MetadataValue::try_from(&args.api_key)
        .context("the API key has characters that no key has")?;
    request.metadata_mut().insert("x-api-key", key);
    let way = CoreGatewayServiceClient::new(channel)
        .explain_message(request)
        .await
        .map_err(Refusal::from)?
        .into_inner();
    if args.json {
        let json = flare_core::json::message_to_json(
            "flare.gateway.v1.ExplainMessageResponse",
            &way.encode_to_vec(),
        )?;
        say!("{}", String::from_utf8(json)?);
    } else {
        print(way)?;
    }
    Ok(())
}

fn endpoint(args: &cli::Explain) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(args.api.clone())
        .with_context(|| format!("--api {:?} is no URL", args.api))?;
    let mut tls = ClientTlsConfig::new().with_webpki_roots();
    if let Some(file) = &args.ca {
        let pem = std::fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    // Of no effect where the URL says http.
    Ok(endpoint.tls_config(tls)?)
}

fn print(way: ExplainMessageResponse) -> anyhow::Result<()> {
    let header = Event::decode(way.event.clone())?
        .header
        .context("the answer bears no event")?;
    say!("message       {}", header.message_id);
    say!(
        "conversation  {} (tenant {})",
        header.conversation_id,
        header.tenant_id
    );
    say!(
        "placed        seq {}, ordinal {}, at {} ms",
        header.seq,
        header.ordinal,
        header.time_ms
    );
    say!(
        "sender        {} {}",
        or_dash(&header.sender_id),
        or_dash(&header.sender_device_id)
    );
    say!("client id     {}", header.client_id);
    let trace = TraceId::from_slice(&header.trace_id).map(|it| it.to_string());
    say!("trace         {}", or_dash(&trace.unwrap_or_default()));
    say!("log           {}", log(&way));
    say!(
        "stored        {}{}",
        if way.stored { "yes" } else { "no" },
        if way.recalled { ", recalled" } else { "" }
    );
    for position in way.positions {
        let read = if position.read_seq >= header.seq {
            "read"
        } else {
            "not read"
        };
        say!("{:<13} {read}", position.user_id);
        for device in position.delivered {
            let delivered = if device.seq >= header.seq {
                "delivered"
            } else {
                "not acknowledged"
            };
            say!("  {:<11} {delivered}", device.device_id);
        }
    }
    Ok(())
}

/// Where the log has it, or why nobody can say.
fn log(way: &ExplainMessageResponse) -> String {
    match (way.log_offset, way.log()) {
        (Some(offset), _) => format!("offset {offset}"),
        (None, LogPresence::Trimmed) => "trimmed: the store has what was there".to_owned(),
        (None, LogPresence::LogUnreachable) => {
            "not known: flare-storage-writer does not answer".to_owned()
        }
        (None, LogPresence::InLog | LogPresence::Unspecified) => "not known".to_owned(),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
