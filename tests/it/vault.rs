//! The envelope as its users see it: what was sealed opens at its own place, and nowhere else.

use hearth::app::Level;
use hearth::error::Code;
use hearth::secret::Secret;
use hearth::vault::envelope::{open, rewrap, seal};
use hearth::vault::root::Root;
use hearth::vault::{Binding, Kind, Policy, Sealed, Use};
use proptest::prelude::*;

fn policy() -> Policy {
    Policy {
        kind: Kind::Password,
        target: Some("host:nas".to_owned()),
        uses: vec![Use::Ssh, Use::Reveal],
        pins: vec!["SHA256:abc".to_owned()],
        level: Level::Operate,
        username: Some("root".to_owned()),
        header: None,
    }
}

fn at<'a>(credential_id: &'a str, version: u64, policy: &'a Policy) -> Binding<'a> {
    Binding { credential_id, version, policy }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_is_refused(secret in proptest::collection::vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>()) {
        let (root, policy) = (Root::generate().unwrap(), policy());
        let place = at("a", 1, &policy);
        let sealed = seal(&root.kek(), &place, &Secret::copied(&secret)).unwrap();
        let opened = open(&root.kek(), &place, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), &secret[..]);
        let mut flipped = sealed.clone();
        let bit = bit.index(8 * (flipped.wrapped.len() + flipped.value.len()));
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        match byte.checked_sub(flipped.wrapped.len()) {
            None => flipped.wrapped[byte] ^= mask,
            Some(byte) => flipped.value[byte] ^= mask,
        }
        prop_assert_eq!(open(&root.kek(), &place, &flipped).err().unwrap().code, Code::Integrity);
        let mut cut = sealed;
        cut.value.truncate(byte % cut.value.len());
        prop_assert!(open(&root.kek(), &place, &cut).is_err());
    }

    #[test]
    fn a_blob_opens_in_its_own_row_and_version_only(a in "[a-z]{1,8}", b in "[a-z]{1,8}", v in 1u64..9, w in 1u64..9) {
        let (root, policy) = (Root::generate().unwrap(), policy());
        let sealed = seal(&root.kek(), &at(&a, v, &policy), &Secret::copied(b"hunter2")).unwrap();
        let opened = open(&root.kek(), &at(&b, w, &policy), &sealed);
        prop_assert_eq!(opened.is_ok(), a == b && v == w);
    }
}

#[test]
fn swapped_columns_and_halves_of_two_rows_are_refused() {
    let (root, policy) = (Root::generate().unwrap(), policy());
    let (one, two) = (at("a", 1, &policy), at("a", 2, &policy));
    let first = seal(&root.kek(), &one, &Secret::copied(b"first")).unwrap();
    let second = seal(&root.kek(), &two, &Secret::copied(b"second")).unwrap();
    let crossed = [
        Sealed { wrapped: first.value.clone(), value: first.wrapped.clone(), ..first.clone() },
        Sealed { wrapped: second.wrapped.clone(), ..first.clone() },
        Sealed { value: second.value.clone(), ..first.clone() },
        // The old version in the place of the new one.
        second,
    ];
    for sealed in crossed {
        assert!(open(&root.kek(), &one, &sealed).is_err());
    }
    assert!(open(&root.kek(), &two, &first).is_err());
}

#[test]
fn an_edited_policy_opens_nothing() {
    let (root, policy) = (Root::generate().unwrap(), policy());
    let sealed = seal(&root.kek(), &at("a", 1, &policy), &Secret::copied(b"hunter2")).unwrap();
    let edits: [fn(&mut Policy); 6] = [
        |policy| policy.target = Some("host:evil".to_owned()),
        |policy| policy.uses.push(Use::HttpBasic),
        |policy| policy.pins = vec!["SHA256:evil".to_owned()],
        |policy| policy.level = Level::Monitor,
        |policy| policy.kind = Kind::Token,
        |policy| policy.username = None,
    ];
    for edit in edits {
        let mut edited = policy.clone();
        edit(&mut edited);
        let error = open(&root.kek(), &at("a", 1, &edited), &sealed).err().unwrap();
        assert_eq!(error.code, Code::Integrity);
        assert!(rewrap(&root.kek(), &Root::generate().unwrap().kek(), &at("a", 1, &edited), &sealed.wrapped).is_err());
    }
}

#[test]
fn a_secret_moves_to_another_root_key_and_leaves_the_old_one() {
    let (old, new, policy) = (Root::generate().unwrap(), Root::generate().unwrap(), policy());
    let place = at("a", 1, &policy);
    let sealed = seal(&old.kek(), &place, &Secret::copied(b"hunter2")).unwrap();
    let wrapped = rewrap(&old.kek(), &new.kek(), &place, &sealed.wrapped).unwrap();
    let moved = Sealed { key_id: new.id(), wrapped, value: sealed.value };
    assert_eq!(open(&new.kek(), &place, &moved).unwrap().expose(), b"hunter2");
    assert!(open(&old.kek(), &place, &moved).is_err());
}

#[test]
fn equal_secrets_and_equal_lengths_do_not_show() {
    let (root, policy) = (Root::generate().unwrap(), policy());
    let sealed = |secret: &[u8]| seal(&root.kek(), &at("a", 1, &policy), &Secret::copied(secret)).unwrap();
    let (one, two, short) = (sealed(b"hunter2"), sealed(b"hunter2"), sealed(b""));
    assert_ne!(one.value, two.value);
    assert_eq!(one.value.len(), short.value.len());
    let error = seal(&root.kek(), &at("a", 1, &policy), &Secret::new(vec![b'x'; 70_000])).err().unwrap();
    assert_eq!(error.code, Code::TooLarge);
}
