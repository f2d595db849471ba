//! Which orders others imply: those that a picture can leave out without losing one.
//!
//! Deliberately absent: where orders come from (`mod.rs`). Tested here.

use super::Order;

/// Marks each of the orders, sorted by who waits, whose commands are connected through others too. Of orders between the same two commands
/// none makes another implied.
pub(super) fn mark(orders: &mut [Order], commands: usize) {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); commands];
    for order in orders.iter() {
        before[order.to].push(order.from);
    }
    let words = commands.div_ceil(64);
    let has = |set: &[u64], at: usize| set[at / 64] >> (at % 64) & 1 == 1;
    let mut ancestors: Vec<Vec<u64>> = vec![Vec::new(); commands];
    for command in topological(&before) {
        let mut set = vec![0; words];
        for &from in &before[command] {
            set.iter_mut().zip(&ancestors[from]).for_each(|(own, theirs)| *own |= theirs);
        }
        // What is behind a command that is waited for needs no order of its own.
        let first = orders.partition_point(|order| order.to < command);
        for order in orders[first..].iter_mut().take_while(|order| order.to == command) {
            order.implied = has(&set, order.from);
        }
        before[command].iter().for_each(|from| set[from / 64] |= 1 << (from % 64));
        ancestors[command] = set;
    }
}

/// The commands, each behind all that it waits for.
fn topological(before: &[Vec<usize>]) -> Vec<usize> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    for (to, froms) in before.iter().enumerate() {
        froms.iter().for_each(|from| after[*from].push(to));
    }
    let mut sorted: Vec<usize> = (0..before.len()).filter(|at| waits[*at] == 0).collect();
    let mut next = 0;
    while let Some(&command) = sorted.get(next) {
        next += 1;
        for &to in &after[command] {
            waits[to] -= 1;
            if waits[to] == 0 {
                sorted.push(to);
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn implied(pairs: &[(usize, usize)]) -> Vec<bool> {
        let order = |&(from, to): &(usize, usize)| Order { from, to, reason: String::new(), implied: false };
        let mut orders: Vec<Order> = pairs.iter().map(order).collect();
        orders.sort_by_key(|order| (order.to, order.from));
        mark(&mut orders, 5);
        orders.iter().map(|order| order.implied).collect()
    }

    #[test]
    fn an_order_past_another_is_implied() {
        // By the command that waits: 0-1, 0-2, 1-2.
        assert_eq!(implied(&[(0, 1), (1, 2), (0, 2)]), [false, true, false]);
        assert_eq!(implied(&[(4, 1), (1, 0), (4, 0), (0, 3), (4, 3)]), [false, true, false, false, true]);
    }

    #[test]
    fn two_reasons_for_one_order_both_stay() {
        assert_eq!(implied(&[(0, 1), (0, 1)]), [false, false]);
    }
}
