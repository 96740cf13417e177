import os

from bottle import get, run


@get("/")
def greet():
    return "hello from Poetry, the first time\n"


run(host="0.0.0.0", port=int(os.environ["PORT"]))
