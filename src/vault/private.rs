//! What of a secret must stay unseen: all of it, or of a key file its private numbers alone.
//!
//! A key file holds its public half as well, which is there to be handed out.

use russh::keys::ssh_key::PrivateKey;
use russh::keys::ssh_key::private::KeypairData;

use super::Kind;
use crate::secret::Secret;

/// The parts to look for in what leaves; never empty.
pub fn private_parts(kind: Kind, secret: &Secret) -> Vec<Secret> {
    let whole = || vec![Secret::copied(secret.expose())];
    if kind != Kind::SshKey {
        return whole();
    }
    let Ok(key) = PrivateKey::from_openssh(secret.expose()) else { return whole() };
    match key.key_data() {
        KeypairData::Ed25519(pair) => vec![Secret::copied(&pair.private.to_bytes())],
        KeypairData::Ecdsa(pair) => vec![Secret::copied(pair.private_key_bytes())],
        KeypairData::Rsa(pair) => {
            let numbers = pair.private();
            let each = [numbers.d(), numbers.p(), numbers.q(), numbers.iqmp()];
            each.map(|number| Secret::copied(number.as_bytes())).into()
        }
        _ => whole(),
    }
}
