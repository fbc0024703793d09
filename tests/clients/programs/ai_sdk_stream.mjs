import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";

const router = createOpenAICompatible({ name: "router", baseURL: `${process.argv[2]}/v1` });
const { fullStream } = streamText({ model: router("org/model"), prompt: "hi", onError() {} });
for await (const part of fullStream) {
  if (part.type === "text-delta") console.log(part.text);
  if (part.type === "error") console.log(part.error?.message ?? part.error);
}
