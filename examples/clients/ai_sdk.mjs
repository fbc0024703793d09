// Generates and streams, with Vercel's AI SDK.
//
//   npm ci --prefix examples/clients
//   ROUTER=http://127.0.0.1:8000 MODEL=Qwen/Qwen3-0.6B node examples/clients/ai_sdk.mjs

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, streamText } from "ai";

const {
  ROUTER = "http://127.0.0.1:8000",
  API_KEY = "unused",
  HF_TOKEN,
  MODEL = "Qwen/Qwen3-0.6B",
  EMBEDDER = "Qwen/Qwen3-Embedding-0.6B",
} = process.env;
const router = createOpenAICompatible({
  name: "router",
  baseURL: `${ROUTER}/v1`,
  apiKey: API_KEY,
  headers: HF_TOKEN ? { "X-HF-Token": HF_TOKEN } : {},
  includeUsage: true,
});
const prompt = "Who are you?";

const { text } = await generateText({ model: router(MODEL), prompt });
console.log(text);

const stream = streamText({ model: router(MODEL), prompt });
for await (const delta of stream.textStream) process.stdout.write(delta);
console.log(` (${(await stream.usage).outputTokens} tokens)`);

const { embeddings } = await embedMany({
  model: router.embeddingModel(EMBEDDER),
  values: ["one", "another"],
});
console.log(embeddings.length, "vectors");

try {
  await generateText({ model: router("nobody/nothing"), prompt });
} catch (error) {
  if (!APICallError.isInstance(error)) throw error;
  console.log(error.statusCode, error.message);
}
