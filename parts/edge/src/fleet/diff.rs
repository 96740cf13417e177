use std::collections::HashSet;
use std::sync::Arc;

/// What `new` has that `old` has not, and the reverse, by allocation. Costs a comparison of pointers for what is equal,
/// as long as the lists are in the same order.
pub(crate) fn diff<'a, T>(
    old: &'a [Arc<T>],
    new: &'a [Arc<T>],
) -> (Vec<&'a Arc<T>>, Vec<&'a Arc<T>>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut left, mut right) = (old, new);
    loop {
        let equal = equal_beginning(left, right);
        (left, right) = (&left[equal..], &right[equal..]);
        match (left, right) {
            ([], []) => return (gone, come),
            ([], rest) => {
                come.extend(rest);
                return (gone, come);
            }
            (rest, []) => {
                gone.extend(rest);
                return (gone, come);
            }
            // Replaced, taken away or put in, and equal again behind it.
            ([one, after_one, ..], [other, after_other, ..])
                if Arc::ptr_eq(after_one, after_other) =>
            {
                gone.push(one);
                come.push(other);
                (left, right) = (&left[1..], &right[1..]);
            }
            ([one, after_one, ..], [other, ..]) if Arc::ptr_eq(after_one, other) => {
                gone.push(one);
                left = &left[1..];
            }
            ([one, ..], [other, after_other, ..]) if Arc::ptr_eq(one, after_other) => {
                come.push(other);
                right = &right[1..];
            }
            _ => {
                let known: HashSet<*const T> = left.iter().map(Arc::as_ptr).collect();
                let kept: HashSet<*const T> = right.iter().map(Arc::as_ptr).collect();
                gone.extend(left.iter().filter(|one| !kept.contains(&Arc::as_ptr(one))));
                come.extend(
                    right
                        .iter()
                        .filter(|one| !known.contains(&Arc::as_ptr(one))),
                );
                return (gone, come);
            }
        }
    }
}

/// How many are the same in front.
fn equal_beginning<T>(left: &[Arc<T>], right: &[Arc<T>]) -> usize {
    const BLOCK: usize = 32;
    let (left_blocks, right_blocks) = (left.as_chunks::<BLOCK>().0, right.as_chunks::<BLOCK>().0);
    // Without a way out in the middle of a block: many are compared at once.
    let is_same = |(one, other): &(&[Arc<T>; BLOCK], &[Arc<T>; BLOCK])| {
        let pairs = one.iter().zip(*other);
        pairs.fold(true, |same, (one, other)| same & Arc::ptr_eq(one, other))
    };
    let blocks = left_blocks.iter().zip(right_blocks);
    let from = blocks.take_while(is_same).count() * BLOCK;
    let rest = left[from..].iter().zip(&right[from..]);
    from + rest
        .take_while(|(one, other)| Arc::ptr_eq(one, other))
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_exactly_what_changed(kept in prop::collection::vec(prop_oneof![9 => Just(0u8), 1 => 0u8..4], 0..300)) {
            // 0 stays, 1 goes, 2 comes, 3 is replaced.
            let (mut old, mut new) = (Vec::new(), Vec::new());
            for (number, fate) in kept.iter().enumerate() {
                let entry = Arc::new(number);
                if *fate != 2 { old.push(Arc::clone(&entry)); }
                match fate {
                    0 | 2 => new.push(entry),
                    3 => new.push(Arc::new(number)),
                    _ => {}
                }
            }
            let (gone, come) = diff(&old, &new);
            let numbers = |list: Vec<&Arc<usize>>| list.into_iter().map(|entry| **entry).collect::<Vec<_>>();
            let with = |fates: &[u8]| kept.iter().enumerate().filter(|(_, fate)| fates.contains(fate)).map(|(number, _)| number).collect::<Vec<_>>();
            prop_assert_eq!(numbers(gone), with(&[1, 3]));
            prop_assert_eq!(numbers(come), with(&[2, 3]));
        }
    }
}
