from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def greet(name: str = "FastAPI") -> dict[str, str]:
    return {"greeting": f"hello from {name}, the first time"}
