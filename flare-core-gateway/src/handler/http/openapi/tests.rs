use super::*;

fn made() -> Value {
    document().expect("the table fits the contract")
}

#[test]
fn every_reference_leads_to_a_schema_and_every_schema_is_referred_to() {
    let document = made();
    let mut referred = std::collections::BTreeSet::new();
    collect(&document, &mut referred);
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for name in schemas.keys() {
        assert!(
            referred.contains(&format!("#/components/schemas/{name}")),
            "{name} is not used"
        );
    }
    for reference in &referred {
        let pointer = reference.trim_start_matches('#');
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (true, Some(reference)) = (name == "$ref", value.as_str()) {
                    into.insert(reference.to_owned());
                }
                collect(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|it| collect(it, into)),
        _ => {}
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = made();
    let mut ids = std::collections::BTreeSet::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("an item").values() {
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id.clone()), "{id} stands twice");
        }
    }
}

#[test]
fn the_contract_s_comments_and_types_are_in_it() {
    let document = made();
    let send = &document["paths"]["/api/v1/messages"]["post"];
    let ways = &send["requestBody"]["content"]["application/json"]["schema"]["oneOf"];
    let (properties, to_user) = (&ways[0]["properties"], &ways[1]["properties"]);
    assert_eq!(
        properties["conversationId"]["description"],
        "One of the two."
    );
    assert!(
        properties.get("userId").is_none() && to_user.get("conversationId").is_none(),
        "they exclude each other"
    );
    assert_eq!(
        properties["content"]["$ref"],
        "#/components/schemas/message.v1.ContentInput"
    );
    assert!(
        properties.get("context").is_none(),
        "the context is the server's"
    );
    let placed = &document["components"]["schemas"]["message.v1.Placed"];
    assert_eq!(placed["description"], "Durable, and final.");
    assert_eq!(
        placed["properties"]["seq"],
        json!({"type": "string", "format": "uint64"})
    );
    let role = &document["components"]["schemas"]["message.v1.Role"];
    assert_eq!(
        role["enum"],
        json!(["ROLE_UNSPECIFIED", "OWNER", "ADMIN", "MEMBER"])
    );
}

#[test]
fn path_fields_are_parameters_and_not_in_the_body() {
    let document = made();
    let recall =
        &document["paths"]["/api/v1/conversations/{conversation_id}/messages/{seq}/recall"]["post"];
    let properties = &recall["requestBody"]["content"]["application/json"]["schema"]["properties"];
    assert_eq!(
        properties
            .as_object()
            .expect("properties")
            .keys()
            .collect::<Vec<_>>(),
        ["clientId"]
    );
    let names: Vec<_> = recall["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["conversation_id", "seq", "x-flare-user"]);
    let events = &document["paths"]["/api/v1/conversations/{conversation_id}/events"]["get"];
    let answer = &events["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(answer, "#/components/schemas/storage.v1.RangeResult");
}

#[test]
fn a_body_is_needed_where_one_of_its_fields_is() {
    let document = made();
    let needs = |path: &str, verb: &str| {
        let body = &document["paths"][path][verb]["requestBody"];
        let schema = &body["content"]["application/json"]["schema"];
        (body["required"].clone(), schema["required"].clone())
    };
    for (path, verb) in [
        ("/api/v1/admin/users/{user_id}/kick", "post"),
        ("/api/v1/admin/users/{user_id}/revoke", "post"),
        ("/api/v1/sign-out", "post"),
        ("/api/v1/conversations/{conversation_id}/settings", "patch"),
    ] {
        assert_eq!(needs(path, verb), (json!(false), Value::Null), "{path}");
    }
    let role = "/api/v1/conversations/{conversation_id}/members/{user_id}/role";
    assert_eq!(
        needs(role, "put"),
        (json!(true), json!(["clientId", "role"]))
    );
}

#[test]
fn every_status_of_a_refusal_is_documented_with_its_codes() {
    let document = made();
    let responses = &document["paths"]["/api/v1/messages"]["post"]["responses"];
    let statuses: Vec<&String> = responses.as_object().expect("responses").keys().collect();
    let expected = [
        "200", "400", "401", "403", "404", "409", "413", "429", "500", "503", "504",
    ];
    assert_eq!(statuses, expected);
    let conflict = &document["components"]["responses"]["Conflict"];
    let said = conflict["description"].as_str().expect("a description");
    assert!(
        said.contains("ALREADY_EXISTS, CONVERSATION_DISBANDED"),
        "{said}"
    );
    assert_eq!(responses["409"]["$ref"], "#/components/responses/Conflict");
}

#[test]
fn a_content_is_sent_with_one_kind_and_comes_with_any_that_there_will_be() {
    let document = made();
    let schemas = &document["components"]["schemas"];
    let kinds = schemas["message.v1.ContentInput"]["oneOf"]
        .as_array()
        .expect("kinds");
    assert_eq!(kinds.len(), 13);
    let text = kinds
        .iter()
        .find(|it| it["title"] == "text")
        .expect("a kind");
    assert_eq!(text["required"], json!(["text"]));
    assert_eq!(text["additionalProperties"], false);
    let others = ["image", "unknown"].map(|it| text["properties"].get(it));
    assert_eq!(others, [None, None]);
    let answered = &schemas["message.v1.Content"];
    assert!(answered["properties"].get("unknown").is_some());
    assert_eq!(
        (
            answered.get("required"),
            answered.get("additionalProperties")
        ),
        (None, None),
        "a later server may answer more"
    );
}

#[test]
fn a_parameter_of_the_query_is_needed_where_its_field_is() {
    let document = made();
    let disband = &document["paths"]["/api/v1/conversations/{conversation_id}"]["delete"];
    let needed = disband["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|it| (it["name"].as_str().expect("a name"), it["required"] == true));
    assert_eq!(
        needed.collect::<Vec<_>>(),
        [
            ("conversation_id", true),
            ("client_id", true),
            ("x-flare-user", false)
        ]
    );
}

#[test]
fn an_example_has_every_needed_field_and_no_other_than_there_are() {
    let document = made();
    let mut bodies = 0;
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("an item").values() {
            let media = &operation["requestBody"]["content"]["application/json"];
            let (schema, Some(example)) = (&media["schema"], media["example"].as_object()) else {
                continue;
            };
            bodies += 1;
            let schema = schema.get("oneOf").map_or(schema, |it| &it[0]);
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().expect("a name");
                assert!(example.contains_key(name), "{name}: {operation}");
            }
            for name in example.keys() {
                assert!(
                    schema["properties"].get(name).is_some(),
                    "{name}: {operation}"
                );
            }
        }
    }
    assert!(bodies > 10);
}
