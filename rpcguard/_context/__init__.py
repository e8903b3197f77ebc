"""What a request hands to the calls that are made while it is served.

A mark, a deadline or the word that a hop above already retries is worth something only where it
reaches the next call, and no function between the two has a parameter for it. They live in context
variables: a task that is started copies them (`asyncio.create_task`, `asyncio.to_thread`,
`contextvars.copy_context`), a bare thread and `ThreadPoolExecutor.submit` do not.

The lowest room: middlewares of the provider's half write here and transports read, so neither
imports the other. Nothing here knows of services, nodes or httpx.

Imports: `errors` and below. A newcomer gets wrong: a task that outlives its request keeps
what it copied. A lane may live on in it; `detached()` drops all of it.
"""
