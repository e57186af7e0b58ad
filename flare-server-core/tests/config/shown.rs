//! A configuration printed, and the page that lists its keys.

use std::path::Path;

use flare_server_core::{
    config::{ConfigLoader, Section, document},
    section,
};

use crate::{Everything, Profile, folder, lines};

#[test]
fn print_masks_secrets_names_origins_and_is_toml() {
    let files = folder(&[(
        "base.toml",
        "peer_secret = \"hunter2\"\n[postgres.main]\nurl = \"postgres://u:hunter2@h\"\n",
    )]);
    let loaded = ConfigLoader::new()
        .folder(files.path())
        .overrides(["registry.static.a:b=x,y"])
        .load::<Everything>()
        .unwrap();
    let text = loaded
        .print()
        .replace(&format!("{}/", files.path().display()), "");
    assert!(!text.contains("hunter2"), "{text}");
    for line in [
        "store = \"embedded\" # default",
        "peer_secret = \"***\" # base.toml",
        "# otlp_endpoint is not set",
        "[gateway]\naddress = \"127.0.0.1:8080\" # default\nidle_ms = 60000 # default",
        "[postgres.main]\nurl = \"***\" # base.toml",
        "[registry.static]\n\"a:b\" = [\"x\", \"y\"] # argument registry.static.a:b",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let again = ConfigLoader::new()
        .argument("printed", text)
        .load::<Everything>()
        .unwrap();
    assert_eq!(again.config.postgres["main"].pool, 4);
    assert_eq!(again.config.gateway, loaded.config.gateway);
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
}

#[test]
fn the_page_lists_every_key_with_its_default_and_unit() {
    let keys = Everything::describe();
    let names: Vec<_> = keys.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(
        names,
        [
            "gateway.address",
            "gateway.idle_ms",
            "postgres.<name>.url",
            "postgres.<name>.pool",
            "registry.static.<name>",
            "store",
            "peer_secret",
            "sample_ratio",
            "origins",
            "otlp_endpoint",
            "dev",
        ]
    );
    let page = document([("Everything", "All keys.", keys)]);
    for line in [
        "## Everything\n\nAll keys.\n",
        "| `gateway.idle_ms` | a whole number from 0 | `60000` | milliseconds | An idle connection is closed after this. |",
        "| `postgres.<name>.pool` | a whole number from 0 to 65535 | `4` |  | Connections at most. |",
        "| `peer_secret` | text | `\"\"` |  | Of \\| all. |",
        "| `otlp_endpoint` | text |  |  | Where spans go. |",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

section! {
    /// A list of tables.
    pub struct Peers {
        /// Each other one.
        pub peers: Vec<Profile> = Vec::new(),
    }
}

#[test]
fn tables_in_a_list_are_checked_printed_and_described_like_any_other() {
    let wrong = "[[peers]]\npool = 1\n[[peers]]\nsize = 1\n[[peers]]\npool = 0\n";
    let mistakes = ConfigLoader::new()
        .argument("p", wrong)
        .load::<Peers>()
        .unwrap_err();
    assert_eq!(
        lines(&mistakes, Path::new("-")),
        [
            "p: peers.1.size: unknown key: known here are url, pool",
            "p: peers.2.pool: 0: must be above 0"
        ]
    );
    let loaded = ConfigLoader::new()
        .argument("p", "[[peers]]\nurl = \"hunter2\"\npool = 1\n")
        .load::<Peers>()
        .unwrap();
    assert_eq!(loaded.config.peers[0].url.expose(), "hunter2");
    assert_eq!(
        loaded.print(),
        "peers = [{ url = \"***\", pool = 1 }] # p\n"
    );
    let keys: Vec<_> = Peers::describe()
        .into_iter()
        .map(|it| (it.key, it.default))
        .collect();
    let expected = [("peers[].url", "\"\""), ("peers[].pool", "4")];
    assert_eq!(
        keys,
        expected.map(|(key, default)| (key.to_owned(), Some(default.to_owned())))
    );
    assert_eq!(Peers::introduction(), "A list of tables.");
}
