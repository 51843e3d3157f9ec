"""Webhooks: deliveries are verified and become notices in the system's inbox; its producer looks the records up."""
