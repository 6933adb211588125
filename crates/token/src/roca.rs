//! The fingerprint of RSA keys made by a faulty generator (ROCA, CVE-2017-15361).
//!
//! Such a generator takes its primes from the powers of 65537 modulo many small primes, so the modulus lies in that subgroup
//! for every one of them. An honest modulus does so for all of them with a chance below one in a hundred million.

const SMALL_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the big-endian modulus carries the fingerprint.
pub(crate) fn has_fingerprint(modulus: &[u8]) -> bool {
    SMALL_PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |residue, byte| (residue << 8 | u32::from(*byte)) % prime);
        is_power_of_65537(residue, *prime)
    })
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_65537_carry_it_and_other_numbers_do_not() {
        assert!(has_fingerprint(&[1, 0, 1]));
        assert!(has_fingerprint(&[1, 0, 2, 0, 1]), "65537 squared");
        assert!(!has_fingerprint(&[1, 0, 2]));
        assert!(!has_fingerprint(&[]));
    }
}
