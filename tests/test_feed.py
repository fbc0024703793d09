from __future__ import annotations

import asyncio

from router.feed import Feed


async def test_each_follower_hears_what_is_sent_while_it_follows() -> None:
    feed: Feed[int] = Feed()
    feed.send(0)
    with feed.follow() as first, feed.follow() as second:
        feed.send(1)
        feed.send(2)
        assert [await first.get(), await first.get(), await second.get()] == [1, 2, 1]
    assert not feed.followed


async def test_a_follower_that_waits_is_woken() -> None:
    feed: Feed[str] = Feed()
    with feed.follow() as follower:
        waiting = asyncio.create_task(follower.get())
        await asyncio.sleep(0)
        feed.send("news")
        assert await waiting == "news"


async def test_a_slow_follower_loses_the_oldest_and_holds_up_nobody() -> None:
    feed: Feed[int] = Feed()
    with feed.follow(most=2) as slow, feed.follow() as quick:
        for number in range(5):
            feed.send(number)
        assert (slow.lost, await slow.get(), await slow.get()) == (3, 3, 4)
        assert (quick.lost, await quick.get()) == (0, 0)
