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
    let properties = &send["requestBody"]["content"]["application/json"]["schema"]["properties"];
    assert_eq!(
        properties["conversationId"]["description"],
        "One of the two."
    );
    assert_eq!(
        properties["content"]["$ref"],
        "#/components/schemas/message.v1.Content"
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
