//! UTC time as text (RFC 3339, 5.6), with milliseconds.

/// Appends, for example, `2024-02-29T23:59:59.007Z`. Years after 9999 have more digits.
pub(crate) fn append(out: &mut Vec<u8>, time_ms: u64) {
    let (seconds, ms) = (time_ms / 1000, time_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    for (value, digits, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (ms, 3, b'Z'),
    ] {
        padded(out, value, digits);
        out.push(end);
    }
}

/// At least so many digits.
fn padded(out: &mut Vec<u8>, mut value: u64, digits: usize) {
    let at = out.len();
    while value > 0 || out.len() - at < digits {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
    }
    out[at..].reverse();
}

/// Year, month and day of a day since 1970-01-01.
///
/// The calendar repeats every 400 years (146,097 days); counting years from 1 March puts the leap day at a year's end. After
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn date(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(time_ms: u64) -> String {
        let mut out = Vec::new();
        append(&mut out, time_ms);
        String::from_utf8(out).unwrap()
    }

    /// Guards the calendar at its edges (the times are from `date -u`), and that no number panics.
    #[test]
    fn known_times() {
        for (time_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_007, "2000-03-01T00:00:00.007Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(format(time_ms), text);
        }
        assert!(format(u64::MAX).ends_with('Z'));
    }

    /// Guards that days follow one another: every day of 800 years, each month as long as it is.
    #[test]
    fn days_follow_one_another() {
        let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for n in 0..292_194 {
            assert_eq!(date(n), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
