//! Decides what a plain scalar means. Owns the rules that Docker Compose's reader (Go, yaml.v3)
//! applies: the YAML 1.2 core schema plus Go's integer syntax. Face: `Resolved`, `resolve`.
//! Never reads `yes`, `no`, `on` or `off` as a truth value.

/// What a scalar without quotes stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolved<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within 64 bits, signed or not.
    Int(i128),
    /// A number with a fraction or an exponent, or a whole one past 64 bits.
    Float(f64),
    /// Everything else.
    Text(&'a str),
}

/// Reads a plain scalar.
pub fn resolve(text: &str) -> Resolved<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "true" | "True" | "TRUE" => return Resolved::Bool(true),
        "false" | "False" | "FALSE" => return Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Resolved::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Resolved::Text(text);
    }
    let digits = text.replace('_', "");
    if let Some(number) = integer(&digits) {
        return Resolved::Int(number);
    }
    match float(&digits) {
        Some(number) => Resolved::Float(number),
        None => Resolved::Text(text),
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`: the prefix decides the base, and a lone
/// leading zero means octal, so `017` is 15 while `018` is no integer.
fn integer(text: &str) -> Option<i128> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, base).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// yaml.v3's float pattern: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !all_digits(digits) {
            return None;
        }
    }
    text.parse().ok()
}

/// A number as Go's `fmt.Sprint` prints it: shortest digits, exponent form from 1e21 up and below
/// 1e-4. Compose turns an unquoted number into text this way, so `1.10` becomes `1.1`.
pub fn format_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            return format!("{mantissa}e{sign}{digits:0>2}");
        }
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_compose_says_they_mean() {
        let check = |text: &str, expect: Resolved<'_>| assert_eq!(resolve(text), expect, "{text}");
        for text in ["yes", "no", "on", "off", "y", "Yes", "1.2.3", "22:22", "08:15", "-", "+", "."]
        {
            check(text, Resolved::Text(text));
        }
        for text in ["", "~", "null", "NULL"] {
            check(text, Resolved::Null);
        }
        check("true", Resolved::Bool(true));
        check("tRue", Resolved::Text("tRue"));
        check("12", Resolved::Int(12));
        check("-12", Resolved::Int(-12));
        check("0o17", Resolved::Int(15));
        check("017", Resolved::Int(15));
        check("0x1F", Resolved::Int(31));
        check("0b11", Resolved::Int(3));
        check("1_000", Resolved::Int(1000));
        check("018", Resolved::Float(18.0));
        check("18446744073709551615", Resolved::Int(i128::from(u64::MAX)));
        check("99999999999999999999", Resolved::Float(1e20));
        check("1.10", Resolved::Float(1.1));
        check("1e3", Resolved::Float(1000.0));
        check(".5", Resolved::Float(0.5));
        check("1e", Resolved::Text("1e"));
        check("0x", Resolved::Text("0x"));
        check("2024-01-01", Resolved::Text("2024-01-01"));
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (number, expect) in
            [(1.1, "1.1"), (1000.0, "1000"), (1e21, "1e+21"), (1e-5, "1e-05"), (0.0, "0")]
        {
            assert_eq!(format_float(number), expect);
        }
    }
}
