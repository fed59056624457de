import asyncio
import websockets
import json

async def test_chat():
    async with websockets.connect("ws://localhost:8000/ai-chat/test-session") as ws:
        # 发送消息
        await ws.send(json.dumps({
            "type": "user_message",
            "content": "你好,请介绍一下你自己"
        }))

        # 接收流式回复
        full_response = ""
        while True:
            msg = json.loads(await ws.recv())
            if msg["type"] == "ai_stream_chunk":
                full_response += msg["content"]
                print(msg["content"], end="", flush=True)
            elif msg["type"] == "ai_stream_end":
                print("\n--- 回复完成 ---")
                break
            elif msg["type"] == "typing":
                print("(AI 正在思考...)", flush=True)

asyncio.run(test_chat())
