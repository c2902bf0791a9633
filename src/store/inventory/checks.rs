//! The newest health check of every service.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Json;
use crate::adapter::certificate;
use crate::adapter::http::Check;
use crate::clock::Timestamp;
use crate::error::Result;

/// What a check found. A phase that was not reached has no time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub name: String,
    pub url: String,
    pub healthy: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub total_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub checked_at: Timestamp,
}

/// What the service showed as its certificate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    pub valid: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub expires_at: Timestamp,
    pub days_left: i64,
    pub issuer: String,
    pub subject: String,
}

const SAVE: &str = "insert into health_checks (service_id, checked_at, result)
     select service_id, ?2, ?3 from services where name = ?1
     on conflict (service_id) do update set checked_at = excluded.checked_at, result = excluded.result";

const GET: &str = "select result from health_checks join services using (service_id) where name = ?1";

/// Keeps the finding; a service that has gone meanwhile keeps none.
pub fn save(tx: &Transaction<'_>, finding: &Finding) -> Result<()> {
    tx.prepare_cached(SAVE)?.execute(params![finding.name, finding.checked_at, Json(finding)])?;
    Ok(())
}

pub fn newest(conn: &Connection, service: &str) -> Result<Option<Finding>> {
    let found: Option<Json<Finding>> = conn.prepare_cached(GET)?.query_row([service], |row| row.get(0)).optional()?;
    Ok(found.map(|Json(finding)| finding))
}

impl Finding {
    pub fn of(name: String, url: String, check: Check, checked_at: Timestamp) -> Finding {
        let redirect = check.redirect_host.map(|host| format!("redirects to {host}, which is not checked"));
        let status = check.status.filter(|status| !(200..=399).contains(status));
        let refused = || status.map(|status| format!("answers with status {status}"));
        let error = check.failure.map(|failure| failure.to_string()).or_else(refused);
        Finding {
            name,
            url,
            healthy: check.healthy,
            status: check.status,
            total_ms: check.total_ms,
            dns_ms: check.dns_ms,
            connect_ms: check.connect_ms,
            tls_ms: check.tls_ms,
            first_byte_ms: check.first_byte_ms,
            certificate: check.certificate.map(Certificate::from),
            error: error.or(redirect.filter(|_| !check.healthy)),
            checked_at,
        }
    }
}

impl From<certificate::Certificate> for Certificate {
    fn from(found: certificate::Certificate) -> Certificate {
        Certificate {
            valid: found.valid,
            problem: found.problem,
            expires_at: found.expires_at,
            days_left: found.days_left,
            issuer: found.issuer,
            subject: found.subject,
        }
    }
}
