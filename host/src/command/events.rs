//! `gatemq events tail`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use http_body_util::BodyExt;
use serde_json::Value;

use super::{Ask, Call, Failed, shown};
use crate::cli::EventsArgs;

/// Longest event that is taken, in bytes: those of this broker are shorter.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Prints events as they happen, until it is ended or the broker is.
pub(crate) fn tail(ask: &Ask, args: &EventsArgs) -> ExitCode {
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
    let EventsArgs { kind, class, tenant, user, client_id, recent } = args;
    let parameters = [
        ("kind", list(kind)),
        ("class", list(class)),
        ("tenant", tenant.clone()),
        ("user", user.clone()),
        ("client_id", client_id.clone()),
        ("recent", (*recent > 0).then(|| recent.to_string())),
    ];
    match follow(&ask.socket, &Call::get("/v1/events", &parameters), ask.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("gatemq: {failed}");
            ExitCode::from(failed.exit_code())
        }
    }
}

fn follow(socket: &Path, call: &Call, json: bool) -> Result<(), Failed> {
    let failed = |e| Failed::Socket(socket.to_owned(), e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let mut body = call.open(socket).await?;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Failed::Garbled(e.to_string()))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
            while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                if !print(&event, json)? {
                    return Ok(());
                }
            }
            if rest.len() > EVENT_BYTES_MAX {
                return Err(Failed::Garbled("an event has no end".into()));
            }
        }
        Err(failed(std::io::ErrorKind::UnexpectedEof.into()))
    })
}

/// False: nobody reads any more.
fn print(event: &[u8], json: bool) -> Result<bool, Failed> {
    let text = String::from_utf8_lossy(event);
    let Some(data) = text.lines().find_map(|line| line.strip_prefix("data:")) else { return Ok(true) };
    let data = data.trim_start();
    let mut out = std::io::stdout().lock();
    let line = match json {
        true => data.to_owned(),
        false => people(&serde_json::from_str(data).map_err(|e| Failed::Garbled(e.to_string()))?),
    };
    Ok(writeln!(out, "{line}").and_then(|()| out.flush()).is_ok())
}

/// `2026-11-28T21:00:00.000Z ClientRefused remote=… tenant=… code=135`, what peers said escaped.
fn people(event: &Value) -> String {
    if let Some(lost) = event.get("lost") {
        return format!("{lost} events were lost here: they came faster than they were read");
    }
    let mut line = format!("{} {}", shown(&event["time"]), shown(&event["event"]));
    let envelope = ["listener", "remote", "connection", "tenant", "user", "client_id"];
    let of_envelope = envelope.iter().filter_map(|name| Some((*name, event.get(*name)?)));
    let fields = event["fields"].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    for (name, value) in of_envelope.chain(fields).filter(|(_, value)| value.as_str() != Some("")) {
        line.push_str(&format!(" {name}={}", shown(value)));
    }
    line
}
