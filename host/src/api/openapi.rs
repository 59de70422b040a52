//! The API, described as OpenAPI 3.1, made of the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};

use super::routes::{Answer, Route, table};

/// Answers with the document.
pub(super) async fn document() -> Answer {
    Ok(Json(made()))
}

fn made() -> Value {
    let mut paths = Map::new();
    let open = [
        ("/live", "Whether the node answers", "200: yes"),
        ("/ready", "Whether the node serves: listeners, required plugins, cluster", "200: yes; 503: no"),
    ];
    for (path, what, answers) in open {
        let responses = json!({ "default": { "description": answers } });
        paths.insert(path.into(), json!({ "get": { "summary": what, "security": [], "responses": responses } }));
    }
    for route in table() {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GateMQ",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Refusals are {\"error\": \"…\"} with the status that fits. Listings have rows, count and next_page; a next_page that is not 0 is the page to ask for next.",
        },
        "components": { "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer" },
            "certificate": { "type": "mutualTLS" },
        } },
        "security": [{ "token": [] }, { "certificate": [] }],
        "paths": paths,
    })
}

fn operation(route: &Route) -> Value {
    let media = match route.path {
        "/v1/events" => "text/event-stream",
        "/metrics" => "application/openmetrics-text",
        _ => "application/json",
    };
    let mut operation = json!({
        "summary": route.what,
        "responses": {
            "200": { "description": "Done", "content": { media: {} } },
            "default": {
                "description": "Refused",
                "content": { "application/json": { "schema": {
                    "type": "object",
                    "properties": { "error": { "type": "string" } },
                    "required": ["error"],
                } } },
            },
        },
    });
    if route.method == "get" {
        let parameter = |name: &&str| json!({ "name": name, "in": "query", "schema": {} });
        operation["parameters"] = route.given.iter().map(parameter).collect();
    } else {
        let properties: Map<String, Value> = route.given.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}
