import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const router = createOpenAICompatible({ name: "router", baseURL: `${process.argv[2]}/v1` });
const { text } = await generateText({ model: router("org/model"), prompt: "hi" });
console.log(text);
