use std::cmp::Ordering;

use super::{Order, compare};

/// Each list is in order; `=` joins what is equal.
fn check(order: Order, list: &str) {
    let groups: Vec<Vec<&str>> =
        list.split_whitespace().map(|group| group.split('=').collect()).collect();
    for (at, group) in groups.iter().enumerate() {
        for (other_at, other) in groups.iter().enumerate() {
            for one in group {
                for two in other {
                    let expect = at.cmp(&other_at);
                    assert_eq!(compare(order, one, two), Some(expect), "{order:?}: {one} {two}");
                }
            }
        }
    }
}

fn check_refused(order: Order, texts: &[&str]) {
    for text in texts {
        assert_eq!(compare(order, text, "1.0"), None, "{order:?}: {text:?}");
        assert_eq!(compare(order, "1.0", text), None, "{order:?}: {text:?}");
    }
}

#[test]
fn dpkg_orders_as_its_manual_says() {
    // deb-version(7): tildes first, then the end, letters before other characters.
    check(Order::Dpkg, "1.0~~ 1.0~~a 1.0~ 1.0=1.0-0=0:1.0=1.00 1.0a 1.0+b1 1.1 1.2 1.10 1:0.9 2:0");
    check(Order::Dpkg, "1.2.3-1~deb12u1 1.2.3-1=1.2.3-01 1.2.3-1+b1 1.2.3-1+deb12u2 1.2.3-2");
    check(Order::Dpkg, "2.36-9+deb12u3 2.36-9+deb12u4 2.36-9+deb12u10 2.37~rc1-1 2.37-1");
    check(Order::Dpkg, "7.6-0 7.6p2-4");
    check(Order::Dpkg, "1.0pre7-2 1.0.4-2");
    check_refused(Order::Dpkg, &["", "a:1", "1:", "1.0_2", "1 2", "-1"]);
}

#[test]
fn apk_orders_as_its_own_tests_say() {
    check(
        Order::Apk,
        "1.2_alpha1 1.2_beta 1.2_pre2 1.2_rc1 1.2 1.2-r0 1.2-r1 1.2_p 1.2_p0 1.2_p1 1.2_p1_p 1.2a 1.2b 1.2.1 1.10",
    );
    check(Order::Apk, "2.34 2.34.1 2.34.10-r0 2.34.10-r10 3");
    check(Order::Apk, "1.0_git20240101 1.0_git20240102 1.0_p0");
    check(Order::Apk, "1.01 1.1"); // a fraction
    check(Order::Apk, "3.1.4-r5=3.1.4-r05 3.1.4-r6");
    check_refused(Order::Apk, &["", "a", "1.2_nosuch", "1.2-rx", "1..2", "1.2ab"]);
}

#[test]
fn semver_orders_as_section_11_says() {
    check(
        Order::Semver,
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 \
         1.0.0=v1.0.0=1.0=1.0.0+build.5 1.0.1 1.2.0 1.10.0 2.0.0",
    );
    // Pseudo-versions of Go.
    check(
        Order::Semver,
        "v0.0.0-20190308221718-c2843e01d9a2 v0.0.0-20200622213623-75b288015ac9 v0.1.0",
    );
    check(Order::Semver, "99999999999999999999.0.0 999999999999999999990.0.0");
    check_refused(Order::Semver, &["", "x", "1.x.0", "1.0.0-", "1.0.0-a..b", "1.2.3.4.5"]);
}

#[test]
fn pep_440_orders_as_its_text_says() {
    check(
        Order::Pep440,
        "1.dev0 1.0.dev456=1.0dev456 1.0a1=1.0.alpha-1 1.0a2.dev456 1.0a12.dev456 1.0a12 1.0b1.dev456 \
         1.0b2 1.0b2.post345.dev456 1.0b2.post345=1.0b2-345 1.0rc1.dev456 1.0rc1=1.0c1=1.0.pre1 \
         1.0=1=1.0.0=v1.0 1.0+abc.5 1.0+abc.7 1.0+5 1.0.post456.dev34 1.0.post456=1.0-456=1.0rev456 \
         1.0.15 1.1.dev1 1!0.1",
    );
}

#[test]
fn what_python_takes_for_no_version_is_refused() {
    check_refused(
        Order::Pep440,
        &["", "french toast", "1.0+a+", "1.0++", "1.0a.b", "1.x", "==1.0"],
    );
}

#[test]
fn gems_are_ordered_as_their_manual_says() {
    check(
        Order::Gem,
        "1.0.a.2 1.0.b1 1.0-a.2=1.0.pre.a.2 1.0.pre 1.0.rc1 1.0=1=1.0.0 1.0.1.pre1 1.0.1 1.9 1.10 2.0.0.rc1 2.0.0",
    );
    check_refused(Order::Gem, &["", "a", "1..2", "junk", "1.2 .3", "-1"]);
}

#[test]
fn packages_of_php_are_ordered_as_composer_does() {
    check(
        Order::Composer,
        "1.0.0-dev 1.0.0-alpha1=1.0.0a1 1.0.0-alpha2 1.0.0-beta1=1.0-b1 1.0.0-RC1 1.0.0=v1.0=1.0.0.0 \
         1.0.0-patch1=1.0.0-p1 1.0.1 1.2 1.10.0 2.0.0",
    );
    check_refused(Order::Composer, &["", "dev-main", "1.x", "1.0#hash"]);
}

#[test]
fn whatever_is_compared_is_ordered_one_way_or_not_at_all() {
    let orders =
        [Order::Dpkg, Order::Apk, Order::Semver, Order::Pep440, Order::Gem, Order::Composer];
    let texts =
        ["1", "1.0", "1.0-1", "1.0~rc1", "1.0a1", "v2", "1.0_p1", "0", "00", "1.0.post1", "é"];
    for order in orders {
        for one in texts {
            for two in texts {
                let there = compare(order, one, two);
                assert_eq!(there, compare(order, two, one).map(Ordering::reverse), "{one} {two}");
            }
        }
    }
}
