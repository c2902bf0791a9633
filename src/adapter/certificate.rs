//! TLS towards home-lab hosts: the connection is made whatever the certificate, and what is wrong with it is told.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::clock::Timestamp;

/// What a host showed as its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whether a browser without private roots would accept it
    pub valid: bool,
    pub problem: Option<String>,
    pub expires_at: Timestamp,
    /// Whole days until it expires; negative once it has
    pub days_left: i64,
    pub issuer: String,
    pub subject: String,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest name kept of a certificate, in characters; the peer decides what it writes there.
const NAME_CHARS: usize = 200;
/// The most alternative names told when none matches.
const NAMES: usize = 5;

/// The TLS configuration of checks: HTTP/1.1, any chain, but proof that the peer holds the key.
pub fn client_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let provider = provider();
        let verifier = AnyChain(provider.signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    });
    Arc::clone(config)
}

/// Describes the first of `chain` and verifies all of it against the public roots.
pub fn describe(chain: &[CertificateDer<'_>], host: &ServerName<'_>, now: Timestamp) -> Option<Certificate> {
    let (leaf, intermediates) = chain.split_first()?;
    let (_, x509) = X509Certificate::from_der(leaf).ok()?;
    let expires_at = Timestamp::from_secs(x509.validity().not_after.timestamp());
    let problem = problem(leaf, &x509, intermediates, host, now, public_roots());
    Some(Certificate {
        valid: problem.is_none(),
        problem,
        expires_at,
        days_left: (expires_at.as_millis() - now.as_millis()).div_euclid(DAY_MS),
        issuer: name(x509.issuer()),
        subject: name(x509.subject()),
    })
}

fn problem(
    leaf: &CertificateDer<'_>,
    x509: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    host: &ServerName<'_>,
    now: Timestamp,
    roots: &WebPkiServerVerifier,
) -> Option<String> {
    let not_before = Timestamp::from_secs(x509.validity().not_before.timestamp());
    let not_after = Timestamp::from_secs(x509.validity().not_after.timestamp());
    if not_after < now {
        return Some(format!("expired at {not_after}"));
    }
    if now < not_before {
        return Some(format!("not valid before {not_before}"));
    }
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0)));
    let error = roots.verify_server_cert(leaf, intermediates, host, &[], time).err()?;
    let rustls::Error::InvalidCertificate(error) = error else {
        return Some(error.to_string());
    };
    let self_signed = x509.issuer().as_raw() == x509.subject().as_raw();
    Some(match error {
        CertificateError::UnknownIssuer if self_signed => "self-signed".to_owned(),
        // What the verifier says of a root that is shown as a host's certificate.
        CertificateError::Other(_) if self_signed => "self-signed by a certificate authority".to_owned(),
        CertificateError::UnknownIssuer => "issued by an authority that is not publicly trusted".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("not valid for {}; it names {}", host.to_str(), alternative_names(x509))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "a certificate above it has expired".to_owned()
        }
        other => other.to_string(),
    })
}

fn alternative_names(x509: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = x509.subject_alternative_name() else {
        return "nothing".to_owned();
    };
    let names: Vec<String> = extension.value.general_names.iter().take(NAMES).map(alternative_name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn alternative_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => plain(name),
        GeneralName::IPAddress(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets)) {
            (Ok(octets), _) => std::net::Ipv4Addr::from(octets).to_string(),
            (_, Ok(octets)) => std::net::Ipv6Addr::from(octets).to_string(),
            _ => "an address of odd length".to_owned(),
        },
        _ => "something other than a host".to_owned(),
    }
}

fn name(name: &X509Name<'_>) -> String {
    plain(&name.to_string())
}

fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(NAME_CHARS).collect()
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn public_roots() -> &'static WebPkiServerVerifier {
    static VERIFIER: OnceLock<Arc<WebPkiServerVerifier>> = OnceLock::new();
    VERIFIER.get_or_init(|| verifier(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
}

fn verifier(roots: RootCertStore) -> Arc<WebPkiServerVerifier> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .expect("there are roots, and no revocation lists that could be wrong")
}

/// Accepts every chain, since home labs sign their own; [`describe`] verifies it afterwards.
#[derive(Debug)]
struct AnyChain(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyChain {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// What is wrong with a certificate for `names`, of an authority that is trusted, at `host`.
    fn problem_at(host: &str, names: &[&str]) -> Option<String> {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.self_signed(&root_key).unwrap().der().clone()).unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&root, &root_key)).unwrap();
        let (_, x509) = X509Certificate::from_der(leaf.der()).unwrap();
        let host = ServerName::try_from(host).unwrap();
        problem(leaf.der(), &x509, &[], &host, "2026-01-01".parse().unwrap(), &verifier(roots))
    }

    #[test]
    fn a_certificate_that_holds_has_no_problem() {
        assert_eq!(problem_at("nas.lan", &["nas.lan"]), None);
        assert_eq!(problem_at("192.168.1.10", &["nas.lan", "192.168.1.10"]), None);
    }

    #[test]
    fn a_certificate_for_another_host_tells_whom_it_names() {
        assert_eq!(
            problem_at("nas.lan", &["plex.lan", "192.168.1.10", "fd00::1"]).as_deref(),
            Some("not valid for nas.lan; it names plex.lan, 192.168.1.10, fd00::1")
        );
        assert_eq!(problem_at("nas.lan", &[]).as_deref(), Some("not valid for nas.lan; it names nothing"));
    }
}
