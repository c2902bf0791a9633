//! Health checks of services.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Named;
use crate::adapter::http::{Failure, Options, check_with};
use crate::adapter::vet::Refusal;
use crate::app::credentials::{Granted, Wanted};
use crate::app::{Context, Event, Level};
use crate::error::{Code, Error, Result};
use crate::registry::{Effect, Tool};
use crate::store::inventory::checks::{self, Finding};
use crate::store::inventory::services::Service;
use crate::store::inventory::{Kind, record};
use crate::vault::Use;

const TIMEOUT_MS: u64 = 5000;
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Ask a service once whether it answers, and how fast
///
/// Healthy is a whole answer with status 200 to 399; redirects are not followed. A certificate
/// that does not hold is described and is no failure.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckServiceHealth {
    /// Service
    name: Named,
    /// 1 to 60000; 5000 if left out
    timeout_ms: Option<u64>,
}

impl Tool for CheckServiceHealth {
    const NAME: &'static str = "inventory_check_service_health";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/inventory/services/{name}/check";
    const DEADLINE: Option<Duration> = Some(Duration::from_secs(70));
    type Output = Finding;

    async fn run(self, cx: &Context) -> Result<Finding> {
        let timeout_ms = self.timeout_ms.unwrap_or(TIMEOUT_MS);
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(Error::invalid("timeout_ms", format_args!("must be from 1 to {TIMEOUT_MS_MAX}")));
        }
        let endpoint = cx.read_now(|conn| record::get::<Service>(conn, &self.name)).await?.endpoint;
        let url = endpoint.health_url()?;
        let own_addresses = cx.app.listening.read().unwrap_or_else(PoisonError::into_inner).clone();
        let policy = cx.app.config.health.policy(own_addresses);
        let wanted = Wanted {
            target: &format!("service:{}", endpoint.name),
            uses: &[Use::HttpBasic, Use::HttpBearer, Use::HttpHeader],
            peer: &url.origin().ascii_serialization(),
        };
        let headers = match cx.use_credential(wanted).await? {
            Some(granted) => vec![credential_header(&granted)?],
            None => Vec::new(),
        };
        let options = Options { headers, ..Options::default() };
        let found = check_with(&url, &policy, Duration::from_millis(timeout_ms), options).await;
        if let Some(Failure::Refused(refusal)) = found.failure {
            return Err(refused(&endpoint.name, refusal));
        }
        let finding = Finding::of(endpoint.name, url.to_string(), found, cx.now());
        let write = move |tx: &rusqlite::Transaction<'_>| {
            checks::save(tx, &finding)?;
            Ok(finding)
        };
        let finding = cx.write(write).await?;
        cx.publish(Event::changed(super::uri(Kind::Service, &finding.name)));
        Ok(finding)
    }
}

/// The header that carries a credential, marked so that it is withheld from a host that proves nothing.
fn credential_header(granted: &Granted) -> Result<(HeaderName, HeaderValue)> {
    let unfit = || {
        Error::new(Code::Unconfigured, format_args!("credential `{}` cannot go into a header", granted.name))
            .with_hint("put its secret again, as one line")
    };
    let text = |prefix: &str, secret: &[u8]| Zeroizing::new([prefix.as_bytes(), secret].concat());
    let (name, value) = match granted.usage {
        Use::HttpBasic => {
            let user = format!("{}:", granted.username.as_deref().unwrap_or_default());
            let pair = text(&user, granted.secret.expose());
            let encoded = Zeroizing::new(STANDARD.encode(&*pair));
            (AUTHORIZATION, text("Basic ", encoded.as_bytes()))
        }
        Use::HttpBearer => (AUTHORIZATION, text("Bearer ", granted.secret.expose())),
        _ => {
            let name = granted.header.as_deref().unwrap_or_default();
            (HeaderName::try_from(name).map_err(|_| unfit())?, text("", granted.secret.expose()))
        }
    };
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| unfit())?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn refused(service: &str, refusal: Refusal) -> Error {
    let hint = match refusal {
        Refusal::Scheme | Refusal::UserInfo | Refusal::NoHost => {
            "give the service a plain http or https URL with inventory_put_service"
        }
        _ => "the owner can open a range in the configuration: `[health] allow`, or `allow_loopback`",
    };
    Error::forbidden(format_args!("service `{service}` is not checked: {refusal}")).with_hint(hint)
}
