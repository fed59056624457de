python -c "
import asyncio
import websockets
import json

async def stress_test():
    tasks = []
    for i in range(10):
        tasks.append(single_client(i))
    await asyncio.gather(*tasks)

async def single_client(client_id):
    try:
        async with websockets.connect(f'ws://localhost:8000/ai-chat/test-{client_id}', timeout=5) as ws:
            await ws.send(json.dumps({'type': 'user_message', 'content': '你好'}))
            async for msg in ws:
                data = json.loads(msg)
                if data['type'] == 'ai_stream_end':
                    break
            print(f'客户端 {client_id} 完成')
    except Exception as e:
        print(f'客户端 {client_id} 失败: {e}')

asyncio.run(stress_test())
"
