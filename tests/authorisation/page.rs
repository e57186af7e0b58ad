//! The page doc/authorisation.md, from the table.

use std::{collections::BTreeSet, fmt::Write, path::Path};

use anyhow::{Context, ensure};

use crate::{
    anybody::OPEN,
    caller::Caller,
    cell::{Surface, surfaces},
    request,
    table::{Call, Row, rows},
};

const HEAD: &str = "\
# Authorisation

<!-- Made by `cargo test -q -p flare-im --test authorisation -- page > doc/authorisation.md`; a test compares. -->

Who may call what. Each line is a call of the contract, and each cell is asked of a running server on every surface that the line names, by
`cargo test -p flare-im --test authorisation`: the answer is the same on all of them, and what is refused changes nothing. A call that comes into the
contract without a line here fails that test. What the codes mean is in [errors.md](errors.md).

## What decides

1. **Who asks**: a token (`Connect` on the client link, `authorization: Bearer` elsewhere) or an API key (`x-api-key`, over gRPC and HTTP alone). Nobody is who his payload says.
   Where that is not proved, nothing else is looked at.
2. **Whether the call is for him**: administration is for API keys in their own name, what is one user's own is for that user, and a key needs the call's scope. A key that names a
   user by `x-flare-user` may what that user may, and no more.
3. **What he is to the conversation**, as of its last change of members.

- A **stranger** never was in the conversation. He is answered as if it did not exist, to the word: `CONVERSATION_NOT_FOUND`. So he learns nothing by asking, of direct conversations
  either, whose ids follow from their two users. One thing tells: a group cannot be made under an id that is taken. Ids that the server makes cannot be guessed.
- **Another tenant** has other conversations, users, keys and messages: nothing of this one exists for it. Users and conversations of the same name do not meet.
- Who has **left** or was **removed** knows that the conversation is there: whatever he wants to do or see of it as it is now is `NOT_A_MEMBER`. What he could read when he went stays
  his: he reads it, marks it as read, and keeps it in his list with his settings. What came later he does not see, and its seqs are beyond his head; nor is he told
  that the group was disbanded after he had gone.
- An **admin** or **member** whose role is too low is told so: `PERMISSION_DENIED`.
- The **wrong device** is one that a token is not for. The client link compares the device of `Connect` with the token's: `DEVICE_MISMATCH`. Requests over gRPC and HTTP name no
  device, so such a token is as good there as its user. A **signed-out device** is one whose tokens were revoked: `TOKEN_REVOKED` on every surface. A token that
  is for no device in particular goes on being good where it does not come with that one.
- Users of a tenant may write to each other and see who is online. Devices are shown to their user and to API keys.
";

/// The page.
fn page() -> String {
    let rows = rows();
    let mut page = HEAD.to_owned();
    table(
        &mut page,
        "By token",
        "`yes, until then`: he reads what there was until he went, and nothing later. `yes, nothing of it`: he is answered about what is his own. `dropped`: the frame has no answer by its \
         nature, and nothing comes of it.",
        &Caller::KNOWN,
        &rows,
    );
    let with_keys: Vec<&Row> = rows.iter().filter(|it| it.expects.takes_keys()).collect();
    keys(&mut page, &with_keys);
    unproved(&mut page, &rows);
    open(&mut page);
    page
}

fn table(page: &mut String, heading: &str, text: &str, callers: &[Caller], rows: &[Row]) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "\n## {heading}\n\n{text}\n");
    let titles: Vec<_> = callers.iter().map(|it| it.title()).collect();
    let _ = writeln!(page, "| call | over | {} |", titles.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(callers.len()));
    for row in rows {
        let on_link = matches!(row.call, Call::Frame(_));
        let cells: Vec<_> = callers
            .iter()
            .map(|it| row.expects.of(*it, on_link).title())
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            name(row),
            over(row),
            cells.join(" | ")
        );
    }
}

fn keys(page: &mut String, rows: &[&Row]) {
    let titles: Vec<_> = Caller::KEYS.iter().map(|it| it.title()).collect();
    let _ = writeln!(
        page,
        "\n## By API key\n\nEach has the call's scope alone. The other tenant's names a user where one has to be named: there, one who bears the owner's name. The client link takes no \
         keys: `UNAUTHENTICATED`.\n\n| call | scope | {} |\n|---|---|{}",
        titles.join(" | "),
        "---|".repeat(titles.len())
    );
    for row in rows {
        let Call::Method(method) = row.call else {
            continue;
        };
        let cells: Vec<_> = Caller::KEYS
            .iter()
            .map(|it| row.expects.of(*it, false).title())
            .collect();
        let scope = method.access().scope;
        let _ = writeln!(
            page,
            "| {} | `{scope}` | {} |",
            name(row),
            cells.join(" | ")
        );
    }
}

fn unproved(page: &mut String, rows: &[Row]) {
    let _ = writeln!(
        page,
        "\n## Without a good credential\n\nThe same for every call; all of them are asked.\n\n| caller | gRPC and HTTP | client link |\n|---|---|---|"
    );
    for caller in Caller::UNPROVED {
        let over_api = match caller {
            Caller::WrongDevice => "as the token's user".to_owned(),
            _ => one(rows.iter().filter(|it| it.expects.takes_keys()), |it| {
                it.expects.of(caller, false).title()
            }),
        };
        let on_link = one(rows.iter(), |it| it.expects.of(caller, true).title());
        let _ = writeln!(page, "| {} | {over_api} | {on_link} |", caller.title());
    }
}

fn open(page: &mut String) {
    let _ = writeln!(
        page,
        "\n## Shown to anybody\n\nBeside these, core-gateway answers gRPC's health and reflection. All other methods of the contract are between the services: \
         `UNKNOWN_METHOD`, over gRPC and in a `Call` frame.\n\n| path | what |\n|---|---|"
    );
    for (path, what) in OPEN {
        let _ = writeln!(page, "| `GET {path}` | {what} |");
    }
}

/// What is the same of all rows.
fn one<'a>(rows: impl Iterator<Item = &'a Row>, of: impl Fn(&Row) -> String) -> String {
    let all: BTreeSet<String> = rows.map(of).collect();
    all.into_iter().collect::<Vec<_>>().join(" or ")
}

fn name(row: &Row) -> String {
    match row.about {
        "" => format!("`{}`", row.call.name()),
        about => format!("`{}` {about}", row.call.name()),
    }
}

/// The surfaces on which the row is asked.
fn over(row: &Row) -> String {
    let shown = surfaces(row, Caller::Owner).into_iter().map(|it| match it {
        Surface::Grpc(_) => "gRPC".to_owned(),
        Surface::Http(route) => format!("`{} {}`", route.verb.name(), route.path),
        Surface::Link => match row.call {
            Call::Frame(_) => "link".to_owned(),
            Call::Method(method) => {
                let frame = request::frame(method, &row.sample(Caller::Owner));
                let name = frame
                    .as_ref()
                    .and_then(|it| it.as_object()?.keys().next().cloned());
                format!("link `{}`", name.unwrap_or_default())
            }
        },
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Prints the page.
pub(crate) fn print() {
    print!("{}", page());
}

/// The page in the repository is the one that the table makes.
pub(crate) fn is_up_to_date() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/authorisation.md");
    let kept = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(
        kept == page(),
        "doc/authorisation.md is not what the table makes: run `cargo test -q -p flare-im --test authorisation -- page > doc/authorisation.md`"
    );
    Ok(())
}
