//! Configuration: files, variables and arguments.

use flare_access_gateway::AccessGatewayConfig;
use flare_core_gateway::CoreGatewayConfig;
use flare_message_orchestrator::config::OrchestratorConfig;
use flare_server_core::{
    config::{ConfigLoader, ConfigMistakes, Loaded, Secret, Section},
    embedded::EmbeddedLogConfig,
    identity::IdentityConfig,
    telemetry::TelemetryConfig,
    tls::{PeerTlsConfig, TlsConfig},
};
use flare_session::SessionConfig;
use flare_storage_reader::StorageReaderConfig;
use flare_storage_writer::StorageWriterConfig;

/// The longest value of an example is known, so that a secret that is shown is found.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

flare_server_core::section! {
    /// Every section of a process that reads bytes of a user's, beside a secret.
    pub struct Everything {
        /// TLS on the ports of clients and of business backends.
        pub tls: TlsConfig = TlsConfig::default(),
        /// gRPC between processes.
        pub peer: Peer = Peer::default(),
        /// The embedded message log.
        pub log: EmbeddedLogConfig = EmbeddedLogConfig::default(),
        /// Logs, metrics and traces.
        pub telemetry: TelemetryConfig = TelemetryConfig::default(),
        /// Tokens and tenants.
        pub identity: IdentityConfig = IdentityConfig::default(),
        /// flare-access-gateway.
        pub access_gateway: AccessGatewayConfig = AccessGatewayConfig::default(),
        /// flare-core-gateway.
        pub core_gateway: CoreGatewayConfig = CoreGatewayConfig::default(),
        /// flare-message-orchestrator.
        pub message_orchestrator: OrchestratorConfig = OrchestratorConfig::default(),
        /// flare-storage-writer.
        pub storage_writer: StorageWriterConfig = StorageWriterConfig::default(),
        /// flare-storage-reader.
        pub storage_reader: StorageReaderConfig = StorageReaderConfig::default(),
        /// flare-session.
        pub session: SessionConfig = SessionConfig::default(),
    }
}

flare_server_core::section! {
    /// gRPC between this process and others.
    pub struct Peer {
        /// Shared by all processes.
        pub secret: Secret = Secret::default(),
        /// How it is encrypted.
        pub tls: PeerTlsConfig = PeerTlsConfig::default(),
    }
}

/// Judges a file.
pub fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    judge(ConfigLoader::new().argument("file", text), bytes);
}

/// Judges lines of which each is a variable, or an argument if it does not begin as one.
pub fn variables(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut variables = Vec::new();
    let mut arguments = Vec::new();
    for line in text.lines() {
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("FLARE__") => variables.push((name, value)),
            _ => arguments.push(line),
        }
    }
    let loader = ConfigLoader::new()
        .variables(variables)
        .overrides(arguments);
    judge(loader, bytes);
}

fn judge(loader: ConfigLoader, bytes: &[u8]) {
    match loader.load::<Everything>() {
        Ok(loaded) => shown(&loaded),
        Err(ConfigMistakes(mistakes)) => {
            assert!(!mistakes.is_empty(), "a refusal says what is wrong");
            let long = mistakes.iter().find(|it| it.message.is_empty());
            assert_eq!(long, None, "a mistake has a reason");
            let said: usize = mistakes.iter().map(|it| it.to_string().len()).sum();
            // A value and its key may be repeated, once for each rule that is broken.
            let most = 16 * 1024 + 64 * bytes.len();
            assert!(said <= most, "{said} bytes are said of {}", bytes.len());
        }
    }
}

/// What is shown of a configuration is read again as the same, but for secrets, which are not shown.
fn shown(loaded: &Loaded<Everything>) {
    let printed = loaded.print();
    let secret = loaded.config.peer.secret.expose();
    let hidden = secret.len() < SECRET.len() || !printed.contains(secret);
    assert!(hidden, "a secret is shown: {printed}");
    let again = ConfigLoader::new().argument("printed", printed.as_str());
    let again = again.load::<Everything>().expect("what is shown is good");
    let values = |it: &Loaded<Everything>| {
        let mut config = it.config.clone();
        config.peer.secret = Secret::default();
        serde_json::to_string(&config).expect("settings")
    };
    assert_eq!(values(&again), values(loaded), "{printed}");
}

/// The defaults as a file, and files that say something else.
pub fn files_corpus() -> Vec<Vec<u8>> {
    let defaults = ConfigLoader::new().load::<Everything>();
    let written = format!(
        "[peer]\nsecret = \"{SECRET}\"\n\n[access_gateway]\nlisten = \"127.0.0.1:0\"\n\n[identity]\ntenants = [\"default\", 'acme']\n\n\
         [identity.keys.\"a.b\"]\nalgorithm = \"EdDSA\"\nfile = '''k.pem'''\n"
    );
    vec![
        defaults.expect("defaults are good").print().into(),
        written.into(),
        b"identity = { leeway_s = 0x1e, tenants = [] }\n".to_vec(),
        b"[telemetry]\nlevel = \"info,flare=debug\"\nlevel = 3\n[unknown]\na = 1979-05-27T07:32:00Z\n".to_vec(),
    ]
}

/// Variables and arguments that set something, and some that do not.
pub fn variables_corpus() -> Vec<Vec<u8>> {
    let keys = Everything::describe();
    let of_every_key = keys
        .iter()
        .filter_map(|it| Some(format!("{}={}\n", it.key, it.default.as_ref()?)))
        .collect::<String>();
    let names = format!(
        "FLARE__PEER__SECRET={SECRET}\nFLARE__TELEMETRY__LEVEL=debug\nidentity.tenants=[\"default\",\"acme\"]\n"
    );
    vec![
        of_every_key.into(),
        names.into(),
        b"FLARE__IDENTITY__KEYS__A__ALGORITHM=Rs256\nidentity.keys.a.file=/k\nlog.segment_bytes=-1\n".to_vec(),
        b"FLARE____=\n=\n.=1\nidentity..tenants=x\nidentity.tenants.0=y\n".to_vec(),
    ]
}
